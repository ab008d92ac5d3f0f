import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { remembering, signGoogleRequest, signRequest } from '../../src/main/store/s3-sign.ts';

const headers = { 'if-none-match': '*' };
const request = {
  method: 'PUT',
  host: 'store.example:9000',
  path: '/bucket/chunks/1.netsy',
  headers,
  region: 'us-east-1',
  payloadHash: 'a'.repeat(64),
  wallMs: Date.UTC(2026, 2, 1, 12, 0, 0, 100),
};
const credentials = { accessKeyId: 'id', secretAccessKey: 'secret' };

describe('a signature that is remembered', () => {
  for (const [name, sign] of Object.entries({ signRequest, signGoogleRequest })) {
    it(`is the one that ${name} gives, for whatever differs from the request before`, () => {
      const others = [
        { ...request, wallMs: request.wallMs + 899 },
        { ...request, wallMs: request.wallMs + 900 },
        { ...request, method: 'GET' },
        { ...request, host: 'other.example' },
        { ...request, path: '/bucket/chunks/2.netsy' },
        { ...request, headers: { 'if-none-match': '"tag"' } },
        { ...request, region: 'eu-central-1' },
        { ...request, payloadHash: 'b'.repeat(64) },
      ];
      for (const other of others) {
        const remembered = remembering(sign);
        remembered(request, credentials);
        assert.deepEqual(remembered(other, credentials), sign(other, credentials));
      }
      const renewed = { accessKeyId: 'id', secretAccessKey: 'renewed' };
      const remembered = remembering(sign);
      remembered(request, credentials);
      assert.deepEqual(remembered(request, renewed), sign(request, renewed));
    });
  }

  it('is made once for a pair of PUTs', () => {
    let signed = 0;
    const remembered = remembering((unsigned, by) => {
      signed++;
      return signRequest(unsigned, by);
    });
    remembered(request, credentials);
    remembered({ ...request, wallMs: request.wallMs + 1 }, credentials);
    assert.equal(signed, 1);
  });
});
