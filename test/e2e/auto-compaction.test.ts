import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { settled, text } from '../support/etcd-client.ts';
import { Fixture } from './fixture.ts';

describe('a server that compacts by itself', { timeout: 60_000 }, () => {
  const server = new Fixture({ arguments: ['--auto-compaction-retention', '1s'] });

  it('forgets what is older than the retention and keeps the newest', async () => {
    const { header } = await server.put('key', 'old');
    let compacted = false;
    for (let value = 0; !compacted && value < 200; value++) {
      await server.put('key', `new ${value}`);
      await sleep(100);
      const old = await settled(server.range('key', '', { revision: header!.revision }));
      compacted = 'failure' in old && old.failure.code === 11;
    }
    assert.ok(compacted, 'the first revision is still there after 20 s');
    assert.match(text((await server.range('key')).kvs[0]?.value), /^new/);
  });
});
