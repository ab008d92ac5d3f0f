import assert from 'node:assert/strict';
import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificates } from '../support/certificates.ts';
import { freePort } from '../support/ports.ts';
import { ROOT } from './markdown.ts';
import { commandsOf, type Lasting } from './site.ts';
import type { Trial, World } from './world.ts';

/** `.ci/run` runs the README's own lines, from a clean clone. */
const INSTALL = ['npm install && ', ''] as const;

async function put(world: World, key: string, value: string): Promise<void> {
  const [name, text] = [key, value].map((one) => Buffer.from(one).toString('base64'));
  const body = JSON.stringify({ key: name, value: text });
  await fetch(`${world.site.endpoint}/v3/kv/put`, { method: 'POST', body });
}

/** Of README.md, in its order: some go on with what those before them made. */
export function readmeTrials(world: World): Record<string, Trial> {
  const { site, gateway } = world;
  let server: Lasting | undefined;

  return {
    'README.md#one-minute-to-the-first-key': async ({ text }) => {
      server = await site.serve(world.local(text, INSTALL));
    },
    'README.md#one-minute-to-the-first-key 3': async ({ text }) => {
      const watching = await site.start(text, async (output) => {
        if (output === 'OK\ngreeting\nhello\n') await put(world, 'greeting', 'again');
        return output.startsWith('OK\ngreeting\nhello\nPUT\ngreeting\nagain\n');
      });
      await watching.stop();
    },
    'README.md#one-minute-to-the-first-key 4': async ({ text }) => {
      const lines = (await site.run(text)).trim().split('\n');
      const said = lines.map((line) => JSON.parse(line) as { record?: { keyText?: string } });
      assert.ok(said.some(({ record }) => record?.keyText === 'greeting'));
      await server?.stop();
    },
    'README.md#on-s3': async ({ text }) => {
      const started = await site.serve(
        world.local(
          text,
          ['AWS_ACCESS_KEY_ID=key', `AWS_ACCESS_KEY_ID=${gateway.accessKey}`],
          ['=secret-key', `=${gateway.secretKey}`],
          ['http://127.0.0.1:9000', gateway.endpoint],
        ),
      );
      await site.run('etcdctl put on s3');
      await started.stop();
      assert.ok(world.hasObjects('bucket', 'prefix/chunks'));
    },
    'README.md#moving-in-and-out': async ({ text }) => {
      const etcd = await world.oldEtcd();
      const said = await site.run(world.local(text, ['http://old:2379', etcd.endpoint]));
      assert.match(said, /imported snapshot\.db .*revision 4/);
    },
    'README.md#moving-in-and-out 2': async ({ text }) => {
      const moved = await site.serve(world.local('netsy --store file:///var/lib/netsy/store'));
      await site.run(world.local(text));
      await moved.stop();
      assert.ok(existsSync(join(site.directory, 'default.etcd/member/snap/db')));
    },
    'README.md#moving-in-and-out 3': async ({ text }) => {
      cpSync(join(ROOT, 'test/fixtures/netsy-go'), join(gateway.directory, 'old-bucket/prefix'), {
        recursive: true,
      });
      const script = world.local(text, ['s3://bucket/prefix', 's3://bucket/moved']);
      assert.match(await site.run(script, world.s3), /imported s3:\/\/old-bucket\/prefix .*revision 62/);
    },
    'README.md#two-nodes-on-one-store': async ({ text }) => {
      const certificates = makeCertificates();
      const nodes: Lasting[] = [];
      for (const [index, command] of commandsOf(text).entries()) {
        const name = ['one', 'two'][index]!;
        const { certFile, keyFile } = certificates.server;
        const node = world.local(
          command,
          ['s3://bucket/prefix', 's3://bucket/two'],
          [`https://10.0.0.${index + 1}:2379`, `https://127.0.0.1:${await freePort()}`],
          [`${name}.crt`, certFile],
          [`${name}.key`, keyFile],
        );
        const role = index === 0 ? 'primary' : 'standby';
        const isServing = (output: string): boolean =>
          output.includes('"serving"') && output.includes(`"role":"${role}"`);
        nodes.push(await site.start(node, isServing, { ...world.s3, directory: site.machine(name) }));
      }
      await nodes[0]?.stop();
      await nodes[1]?.stop();
      certificates.remove();
    },
    'README.md#going-back': async ({ text }) => {
      await world.fill('s3://bucket/prod');
      const time = /2026-\d\d-\d\dT[\d:]+Z/g;
      const back = world.local(text, [time, new Date().toISOString()]);
      const started = await site.serve(back, world.s3);
      assert.match(await site.run('etcdctl get /a'), /filled-a/);
      await started.stop();
    },
    'README.md#going-back 2': async ({ text }) => {
      const started = await site.serve(world.local(text));
      assert.match(await site.run('etcdctl get /a'), /old-a/);
      await started.stop();
    },
    'README.md#looking-into-a-store': async ({ text }) => {
      const said = await site.run(world.local(text, ['s3://bucket/prefix', 's3://bucket/prod']), world.s3);
      assert.match(said, /end of log +revision 4/);
      assert.match(said, /s3:\/\/bucket\/prod\/ is whole/);
    },
  };
}
