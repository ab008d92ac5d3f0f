import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { probeStore } from '../../src/main/store/probe.ts';
import { openS3Store } from '../../src/main/store/s3.ts';
import { escapeXml, parseXml, XmlError } from '../../src/main/store/s3-xml.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { keysOf, text } from './contract.ts';

/** Replies that the real server at hand does not give, from a server that gives only them. */
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const TIME = '<LastModified>2026-01-02T03:04:05.000Z</LastModified>';
const TAG = { etag: '"tag"' };
/** What each request sent. */
const bodies = new WeakMap<IncomingMessage, Buffer>();

async function answering<T>(answer: Answer, use: (store: ObjectStore) => Promise<T>): Promise<T> {
  const server: Server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      bodies.set(request, Buffer.concat(pieces));
      answer(request, response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const store = await openS3Store(new URL('s3://bucket/prefix'), {
    clock: systemClock,
    random: systemRandom,
    environment: { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret', AWS_REGION: 'us-east-1' },
    endpoint: `http://127.0.0.1:${port}`,
    attemptTimeoutMs: 1_000,
  });
  try {
    return await use(store);
  } finally {
    await store.close();
    server.closeAllConnections();
    server.close();
  }
}

function problem(
  status: number,
  code: string,
  headers: Record<string, string> = {},
): (request: unknown, response: ServerResponse) => void {
  return (_request, response) => {
    response.writeHead(status, headers);
    response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>said so</Message></Error>`);
  };
}

describe('an S3 reply', () => {
  const meanings: ReadonlyArray<readonly [number, string, string]> = [
    [409, 'ConditionalRequestConflict', 'transient'],
    [503, 'SlowDown', 'transient'],
    [500, 'InternalError', 'transient'],
    [429, 'TooManyRequests', 'transient'],
    [408, 'RequestTimeout', 'transient'],
    [400, 'RequestTimeout', 'transient'],
    [400, 'XAmzContentSHA256Mismatch', 'transient'],
    [403, 'AccessDenied', 'denied'],
    [400, 'ExpiredToken', 'denied'],
    [404, 'NoSuchBucket', 'no-bucket'],
    [404, 'SomethingOfAProxy', 'no-bucket'],
    [501, 'NotImplemented', 'unsupported'],
    [400, 'InvalidRequest', 'fatal'],
    [400, 'ThrottlingException', 'transient'],
    [400, 'KMS.KMSInternalException', 'transient'],
    [400, 'KMS.DisabledException', 'denied'],
  ];
  for (const [status, code, kind] of meanings) {
    it(`${status} ${code} to a create is '${kind}', with S3's code and status kept`, async () => {
      const expected = { name: 'StoreError', kind, code, status };
      await answering(problem(status, code), (store) =>
        assert.rejects(store.putIfAbsent('a', text('x')), expected),
      );
    });
  }

  it('412 to a create means that the object exists', async () => {
    const answer = await answering(problem(412, 'PreconditionFailed'), (s) => s.putIfAbsent('a', text('x')));
    assert.equal(answer, 'exists');
  });

  it('404 means that the object is absent only when S3 says so, not when a proxy does', async () => {
    assert.equal(await answering(problem(404, 'NoSuchKey'), (store) => store.get('a')), undefined);
    const html: Answer = (_request, response) => response.writeHead(404).end('<html><br></html>');
    await answering(html, (store) => assert.rejects(store.get('a'), { kind: 'no-bucket', status: 404 }));
    await answering(html, (store) => assert.rejects(store.delete('a'), { kind: 'no-bucket', status: 404 }));
  });

  it('of success that S3 does not give is told from S3’s own', async () => {
    const message = /: HTTP 200, and not as S3 says it: is a proxy or another server in between\?$/;
    const page: Answer = (_request, response) => response.writeHead(200).end('<html></html>');
    await answering(page, (store) =>
      assert.rejects(store.put('a', text('x')), { kind: 'transient', message }),
    );
    await answering(page, (store) => assert.rejects(store.get('a'), { kind: 'transient', message }));
  });

  it('says how long to wait, and which region a bucket is in', async () => {
    await answering(problem(503, 'SlowDown', { 'retry-after': '7' }), (store) =>
      assert.rejects(store.get('a'), { kind: 'transient', retryAfterMs: 7_000 }),
    );
    await answering(problem(301, 'PermanentRedirect', { 'x-amz-bucket-region': 'eu-west-3' }), (store) =>
      assert.rejects(store.get('a'), { message: /set AWS_REGION/ }),
    );
  });

  it('that breaks off, or never comes, leaves the outcome unknown', async () => {
    const broken: Answer = (_request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('x'.repeat(50), () => response.destroy());
    };
    await answering(broken, (store) => assert.rejects(store.get('a'), { kind: 'transient' }));
    const hangingUp: Answer = (request) => request.socket.destroy();
    await answering(hangingUp, (store) =>
      assert.rejects(store.putIfAbsent('a', text('x')), { kind: 'transient' }),
    );
    const silent: Answer = () => {};
    await answering(silent, (store) =>
      assert.rejects(store.putIfAbsent('a', text('x')), { kind: 'transient' }),
    );
  });

  for (const [what, said] of [
    [
      'an error',
      '<?xml version="1.0"?>\n<Error><Code>InternalError</Code><Message>said so</Message></Error>',
    ],
    ['a page', '<!DOCTYPE html><html><body>Log in</body></html>'],
    ['nothing, and no tag', ''],
  ] as const) {
    it(`of success to a create that has ${what} in it counts for nothing: what is stored tells`, async () => {
      let stored: string | undefined;
      const between: Answer = (request, response) => {
        if (request.method === 'PUT') response.end(said);
        else if (stored === undefined) problem(404, 'NoSuchKey')(request, response);
        else response.end(stored);
      };
      await answering(between, async (store) => {
        await assert.rejects(store.putIfAbsent('a', text('x')), { kind: 'transient', status: 200 });
        stored = 'x';
        assert.equal(await store.putIfAbsent('a', text('x')), 'created');
        stored = 'another’s';
        assert.equal(await store.putIfAbsent('a', text('x')), 'exists');
      });
    });
  }

  it('of success that is an error or a page is none, to whatever was asked', async () => {
    const html: Answer = (_request, response) => response.end('\n<html><body>Log in</body></html>');
    for (const answer of [problem(200, 'InternalError'), html]) {
      await answering(answer, async (store) => {
        const asked = [
          store.get('a'),
          store.getRange('a', 0, 4),
          store.put('a', text('x')),
          store.delete('a'),
          keysOf(store, ''),
        ];
        for (const one of asked) await assert.rejects(one, { name: 'StoreError', kind: 'transient' });
      });
    }
    const object: Answer = (_request, response) => response.end('<Errors>of a chunk</Errors>');
    assert.deepEqual(await answering(object, (store) => store.get('a')), text('<Errors>of a chunk</Errors>'));
  });

  it('that is not asked for by range is cut to it', async () => {
    const whole: Answer = (_request, response) => response.end('0123456789');
    assert.deepEqual(await answering(whole, (store) => store.getRange('a', 3, 4)), text('3456'));
  });

  it('to a list that is out of order makes the store unusable', async () => {
    const list: Answer = (_request, response) => {
      const entries = ['b', 'a'].map(
        (k) => `<Contents><Key>prefix/${k}</Key><Size>1</Size>${TIME}</Contents>`,
      );
      response.end(
        `<ListBucketResult>${entries.join('')}<IsTruncated>false</IsTruncated></ListBucketResult>`,
      );
    };
    await answering(list, (store) => assert.rejects(keysOf(store, ''), { kind: 'unsupported' }));
  });

  it('to a list that goes on without a token is followed by start-after', async () => {
    const list: Answer = (request, response) => {
      const isFirst = !request.url?.includes('start-after');
      const key = isFirst ? 'prefix/a%2Bb+c' : 'prefix/z';
      response.end(
        `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType><IsTruncated>${isFirst}</IsTruncated><Contents><Key>${key}</Key><Size>1</Size>${TIME}</Contents></ListBucketResult>`,
      );
    };
    assert.deepEqual(await answering(list, (store) => keysOf(store, '')), ['a+b c', 'z']);
  });
});

/** A store that honours conditional creates, with `absent` for what it says of an object that is not there. */
function honouring(objects: Map<string, Buffer>, absent: (response: ServerResponse) => void): Answer {
  return (request, response) => {
    const { method, url = '' } = request;
    const { pathname, searchParams } = new URL(url, 'http://store');
    if (searchParams.has('list-type')) {
      const prefix = searchParams.get('prefix') ?? '';
      const keys = [...objects.keys()]
        .map((key) => key.slice('/bucket/'.length))
        .filter((key) => key.startsWith(prefix));
      const contents = keys
        .sort()
        .map((key) => `<Contents><Key>${key}</Key><Size>1</Size>${TIME}</Contents>`);
      response.writeHead(200).end(`<ListBucketResult>${contents.join('')}</ListBucketResult>`);
    } else if (method === 'DELETE') {
      objects.delete(pathname);
      response.writeHead(204).end();
    } else if (method === 'PUT') {
      if (objects.has(pathname)) return problem(412, 'PreconditionFailed')(undefined, response);
      objects.set(pathname, bodies.get(request) ?? Buffer.alloc(0));
      response.writeHead(200, TAG).end();
    } else {
      const body = objects.get(pathname);
      if (body === undefined) absent(response);
      else response.writeHead(200).end(body);
    }
  };
}

describe('the probe', () => {
  it('refuses a store that ignores conditional writes, and says why', async () => {
    const objects = new Map<string, string>();
    const ignoring: Answer = (request, response) => {
      if (request.method === 'PUT') objects.set(request.url ?? '', '');
      response.writeHead(request.method === 'DELETE' ? 204 : 200, TAG).end();
    };
    await answering(ignoring, (store) =>
      assert.rejects(probeStore(store, systemRandom), {
        kind: 'unsupported',
        message: /ignores 'If-None-Match: \*'.*overwrite[^\n]*$/,
      }),
    );
  });

  it('refuses a store that checks the condition, but not for two at once', async () => {
    const names = new Map<string, string>();
    const racing: Answer = (request, response) => {
      const url = request.url ?? '';
      const exists = names.has(url);
      if (request.method === 'PUT') setTimeout(() => names.set(url, ''), 50);
      const isConditional = request.method === 'PUT' && exists;
      const wait = request.method === 'PUT' && !exists ? 100 : 0;
      setTimeout(() => response.writeHead(isConditional ? 412 : 200, TAG).end(), wait);
    };
    const empty = { fraction: () => 0, bytes: () => new Uint8Array(0) };
    await answering(racing, (store) =>
      assert.rejects(probeStore(store, empty), {
        kind: 'unsupported',
        message: /two creates .* 2 succeeded/,
      }),
    );
  });

  it('names stores that do as this one when it does not implement conditional writes, or ignores them', async () => {
    await answering(problem(501, 'NotImplemented'), (store) =>
      assert.rejects(probeStore(store, systemRandom), {
        kind: 'unsupported',
        message: /does not implement 'If-None-Match: \*'.*Backblaze B2.*NotImplemented[^\n]*$/,
      }),
    );
    const ignoring: Answer = (request, response) =>
      response.writeHead(request.method === 'DELETE' ? 204 : 200, TAG).end();
    await answering(ignoring, (store) =>
      assert.rejects(probeStore(store, systemRandom), { message: /--s3-dialect gcs, and Oracle/ }),
    );
  });

  it('refuses permissions with which an absent object is answered 403, and says which', async () => {
    const objects = new Map<string, Buffer>();
    const unlisted = honouring(objects, (response) => problem(403, 'AccessDenied')(undefined, response));
    await answering(unlisted, (store) =>
      assert.rejects(probeStore(store, systemRandom), {
        kind: 'denied',
        message: /learn that an object does not exist.*allow s3:ListBucket, without a condition/,
      }),
    );
  });

  it('tries a store that cuts connections or is busy again, from the beginning and with new names', async () => {
    const objects = new Map<string, Buffer>();
    const well = honouring(objects, (response) => problem(404, 'NoSuchKey')(undefined, response));
    let asked = 0;
    const seen = new Set<string>();
    const bad: Answer = (request, response) => {
      asked++;
      if (request.method === 'PUT') seen.add(/probe\/\w+/.exec(request.url ?? '')?.[0] ?? '');
      // After the effect, as a lost answer is: a second try of the same name would take its own object for another's.
      if (asked === 1) well(request, { writeHead: () => ({ end: () => request.socket.destroy() }) } as never);
      else if (asked === 4) problem(503, 'SlowDown')(request, response);
      else well(request, response);
    };
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (message: string) => void warnings.push(message) };
    await answering(bad, (store) =>
      probeStore(store, systemRandom, { clock: systemClock, retryForMs: 30_000, log }),
    );
    assert.ok(seen.size >= 2, [...seen].join());
    assert.deepEqual(warnings, ['the store does not answer yet']);
  });

  it('gives up in time, and does not say that a permission is missing where nothing answers', async () => {
    const silent: Answer = (request) => request.socket.destroy();
    await answering(silent, (store) =>
      assert.rejects(
        probeStore(store, systemRandom, { clock: systemClock, retryForMs: 300, log: silentLog }),
        { kind: 'transient', message: /is not there, or not well: .*no answer from/ },
      ),
    );
  });

  it('names the permission that is missing', async () => {
    const readDenied: Answer = (request, response) => {
      if (request.method === 'GET') problem(403, 'AccessDenied')(request, response);
      else response.writeHead(request.method === 'PUT' && seen.has(request.url) ? 412 : 200, TAG).end();
      if (request.method === 'PUT') seen.add(request.url);
    };
    const seen = new Set<string | undefined>();
    await answering(readDenied, (store) =>
      assert.rejects(probeStore(store, systemRandom), { kind: 'denied', message: /allow s3:GetObject/ }),
    );
  });
});

describe('the XML reader', () => {
  it('resolves entities, character references and CDATA, and drops namespaces, attributes and comments', () => {
    const document =
      '\ufeff<?xml version="1.0"?>\n<a:R xmlns:a="u>v" b=\'/\'><!-- <x> --><K>1 &lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;<![CDATA[<&]]></K><E/></a:R>\n';
    const element = parseXml(document);
    assert.equal(element.name, 'R');
    assert.deepEqual(
      element.children.map(({ name, text: inside }) => [name, inside]),
      [
        ['K', '1 <>&"\'A\u{1f600}<&'],
        ['E', ''],
      ],
    );
  });

  it('refuses what is not one whole document, and every document type', () => {
    const bad = [
      '',
      'text',
      '<a>',
      '<a></b>',
      '</a>',
      '<a/><b/>',
      '<a/>x',
      '<a>&nope;</a>',
      '<a>&amp</a>',
      '<a',
    ];
    for (const document of [
      ...bad,
      '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
      '<a>&#x110000;</a>',
      '<a b="c>',
    ]) {
      assert.throws(() => parseXml(document), XmlError, document);
    }
    assert.throws(() => parseXml('<a>'.repeat(100) + '</a>'.repeat(100)), XmlError);
  });

  it('gives back any text that was escaped', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        assert.equal(parseXml(`<a>${escapeXml(value)}</a>`).text, value);
      }),
    );
  });
});
