// Self-signed certificates made on the spot, in the few bytes of DER that it takes: Node can read X.509 but not write it.

import { generateKeyPairSync, sign } from 'node:crypto';
import { isIP } from 'node:net';

const [SEQUENCE, SET, INTEGER, BIT_STRING, OCTET_STRING, OID, UTF8, UTC_TIME] = [0x30, 0x31, 2, 3, 4, 6, 12, 23];
const [VERSION, EXTENSIONS, DNS_NAME, IP_ADDRESS] = [0xa0, 0xa3, 0x82, 0x87];
const ecdsaWithSha256 = '2a8648ce3d040302';
const commonName = '550403';
const subjectAltName = '551d11';

/** For names and IPv4 addresses, from an hour ago until `expiresAt`. */
export function selfSigned(hosts: readonly string[], expiresAt = new Date(Date.now() + 3_600_000)) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der(SEQUENCE, hex(OID, ecdsaWithSha256));
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, hex(OID, commonName), der(UTF8, Buffer.from(hosts[0] ?? '')))));
  const alternatives = hosts.map((host) =>
    isIP(host) === 4 ? der(IP_ADDRESS, Buffer.from(host.split('.').map(Number))) : der(DNS_NAME, Buffer.from(host)),
  );
  const certificate = der(
    SEQUENCE,
    der(VERSION, hex(INTEGER, '02')),
    hex(INTEGER, '01'),
    algorithm,
    name,
    der(SEQUENCE, utc(new Date(Math.min(Date.now(), expiresAt.getTime()) - 3_600_000)), utc(expiresAt)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(
      EXTENSIONS,
      der(SEQUENCE, der(SEQUENCE, hex(OID, subjectAltName), der(OCTET_STRING, der(SEQUENCE, ...alternatives)))),
    ),
  );
  const signature = sign('sha256', certificate, privateKey);
  const signed = der(SEQUENCE, certificate, algorithm, der(BIT_STRING, Buffer.from([0]), signature));
  const lines = signed.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  };
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function hex(tag: number, digits: string): Buffer {
  return der(tag, Buffer.from(digits, 'hex'));
}

function utc(time: Date): Buffer {
  return der(
    UTC_TIME,
    Buffer.from(
      `${time
        .toISOString()
        .replace(/[-T:]|\..*/g, '')
        .slice(2)}Z`,
    ),
  );
}
