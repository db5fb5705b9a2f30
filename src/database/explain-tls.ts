/** Sentences for errors of TLS, by Node's codes. The remedy depends on which side refused. */

interface TlsError extends Error {
  readonly code?: string;
  /** OpenSSL's text without its source line. */
  readonly reason?: string;
}

const KINDS: readonly (readonly [RegExp, says: string, remedy: string])[] = [
  [/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/, 'its certificate is not valid now', "renew it, or set this machine's clock"],
  [/^CERT_REVOKED$/, 'its certificate is revoked', 'ask its host for another'],
  [
    /^ERR_SSL_.*(PROTOCOL|VERSION)/,
    'it speaks no TLS version that is allowed here',
    'check ssl_min_protocol_version and ssl_max_protocol_version',
  ],
  [/^ERR_SSL_.*ALERT/, 'it refused the TLS connection', 'check sslcert and sslkey'],
  [
    /^ERR_(OSSL_|CRYPTO_OPERATION_FAILED$)/,
    'a file for TLS cannot be used',
    'check that sslcert, sslkey, sslrootcert and sslcrl are PEM files and sslkey is the key of sslcert; an encrypted key needs sslpassword',
  ],
  [/CERT|^UNABLE_TO_/, 'its certificate is not trusted', 'add sslrootcert=/path/to/ca.pem to DATABASE_URL'],
  [/^ERR_(TLS|SSL)_|^EPROTO$/, 'TLS with it failed', 'check that it is PostgreSQL'],
];

/** Subject, verdict, remedy. Undefined: the error is not about TLS. */
export function explainTls({ code = '', reason, message }: TlsError, database: string): string | undefined {
  const [, says, remedy] = KINDS.find(([pattern]) => pattern.test(code)) ?? [];
  return says && `${database}: ${says} (${reason ?? message}): ${remedy}`;
}
