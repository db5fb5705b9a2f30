import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { hexSignature, signingKey, standardSignature, verify } from '../../src/payload/signature.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const ID = 'msg_p5jXN8AQM9LWM0D4loKWxJek';
const TIMESTAMP = 1_614_265_330;
const BODY = '{"test": 2432232314}';

describe('signatures', () => {
  test('are the golden ones of the Standard Webhooks specification', () => {
    expect(standardSignature(signingKey(SECRET), ID, TIMESTAMP, BODY)).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    );
  });

  // RFC 4231, test case 2.
  test('in hex are the golden ones of RFC 4231', () => {
    expect(hexSignature(signingKey('Jefe'), 'what do ya want for nothing?')).toBe(
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    );
  });

  test('in hex take the whole text of a whsec_ secret as the key', () => {
    // printf '{}' | openssl dgst -sha256 -hmac whsec_YWJj
    expect(hexSignature(signingKey('whsec_YWJj'), '{}')).toBe(
      'aa2ea1f7f7c08727bf742fcfeef77a14b6544ed54a2e4ed4e59076cb886dee2e',
    );
  });

  const bodies = ['', '{}', '{"name":"Zoë 🚀","n":12345678901234567890.10}', `{"big":"${'x'.repeat(100_000)}"}`];
  const secrets = [
    SECRET,
    'whsec_YQ==',
    'whsec_YWI=',
    'whsec_YWJj',
    `whsec_${Buffer.alloc(64, 255).toString('base64')}`,
  ];

  test.each(secrets)('of %s are those of the standardwebhooks library', (secret) => {
    for (const body of bodies) {
      const theirs = new Webhook(secret).sign(ID, new Date(TIMESTAMP * 1000), body);
      expect(standardSignature(signingKey(secret), ID, TIMESTAMP, body)).toBe(theirs);
      expect(standardSignature(signingKey(secret), ID, TIMESTAMP, Buffer.from(body))).toBe(theirs);
    }
  });

  test.each(['hunter2', 'pässwörd', 'YWJj'])('of %s, no whsec_, take its UTF-8 bytes as the key', (secret) => {
    const asBytes = new Webhook(`whsec_${Buffer.from(secret).toString('base64')}`);
    expect(standardSignature(signingKey(secret), ID, TIMESTAMP, BODY)).toBe(
      asBytes.sign(ID, new Date(TIMESTAMP * 1000), BODY),
    );
  });

  test.each(['whsec_', 'whsec_YWI', 'whsec_a-_b', 'whsec_hello world'])(
    'of %s, no base64, take its UTF-8 bytes',
    (secret) => {
      const asBytes = new Webhook(`whsec_${Buffer.from(secret).toString('base64')}`);
      expect(standardSignature(signingKey(secret), ID, TIMESTAMP, BODY)).toBe(
        asBytes.sign(ID, new Date(TIMESTAMP * 1000), BODY),
      );
    },
  );
});

describe('verify', () => {
  const key = signingKey(SECRET);
  const other = signingKey('whsec_b3RoZXI=');
  const signed = {
    id: ID,
    timestamp: String(TIMESTAMP),
    signature: standardSignature(key, ID, TIMESTAMP, BODY),
    hexSignature: hexSignature(key, BODY),
    body: BODY,
  };

  test('accepts what we sign, and what the library signs', () => {
    expect(verify([key], signed, TIMESTAMP)).toEqual({ standard: 'valid', hex: 'valid' });
    const theirs = new Webhook(SECRET).sign(ID, new Date(TIMESTAMP * 1000), BODY);
    expect(verify([key], { ...signed, signature: theirs }, TIMESTAMP).standard).toBe('valid');
  });

  test('is accepted by the library', () => {
    const now = Math.floor(Date.now() / 1000);
    const headers = {
      'webhook-id': ID,
      'webhook-timestamp': String(now),
      'webhook-signature': standardSignature(key, ID, now, BODY),
    };
    expect(new Webhook(SECRET).verify(BODY, headers)).toEqual(JSON.parse(BODY));
  });

  test('accepts any of several secrets and any of several signatures, as during a rotation', () => {
    const both = `${standardSignature(other, ID, TIMESTAMP, BODY)} ${signed.signature} v1a,ignored`;
    expect(verify([key], { ...signed, signature: both }, TIMESTAMP).standard).toBe('valid');
    expect(verify([other, key], signed, TIMESTAMP)).toEqual({ standard: 'valid', hex: 'valid' });
  });

  test.each([
    ['another secret', [other], signed, { standard: 'mismatch', hex: 'mismatch' }],
    ['no secret', [], signed, { standard: 'mismatch', hex: 'mismatch' }],
    ['another body', [key], { ...signed, body: `${BODY}\n` }, { standard: 'mismatch', hex: 'mismatch' }],
    ['another id', [key], { ...signed, id: 'msg_x' }, { standard: 'mismatch', hex: 'valid' }],
    ['another time', [key], { ...signed, timestamp: String(TIMESTAMP + 1) }, { standard: 'mismatch', hex: 'valid' }],
    ['no headers', [key], { body: BODY }, { standard: 'missing', hex: 'missing' }],
    ['a time that is none', [key], { ...signed, timestamp: '1e9' }, { standard: 'malformed', hex: 'valid' }],
    ['an unknown version', [key], { ...signed, signature: 'v2,abc' }, { standard: 'malformed', hex: 'valid' }],
    ['a cut hex', [key], { ...signed, hexSignature: 'abc' }, { standard: 'valid', hex: 'malformed' }],
  ] as const)('refuses %s', (_, keys, request, verdicts) => {
    expect(verify(keys, request, TIMESTAMP)).toEqual(verdicts);
  });

  test('refuses what is more than five minutes old or ahead, and not a second less', () => {
    const standardAt = (now: number) => verify([key], signed, now).standard;
    expect(standardAt(TIMESTAMP + 300)).toBe('valid');
    expect(standardAt(TIMESTAMP + 301)).toBe('too_old');
    expect(standardAt(TIMESTAMP - 300)).toBe('valid');
    expect(standardAt(TIMESTAMP - 301)).toBe('too_new');
    expect(verify([key], signed, TIMESTAMP + 1e9, Number.POSITIVE_INFINITY).standard).toBe('valid');
  });
});
