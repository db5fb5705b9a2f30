/** Sentences for errors of TLS, by Node's codes. The remedy depends on which side refused. */

interface TlsError extends Error {
  readonly code?: string;
  /** OpenSSL's text without its source line. */
  readonly reason?: string;
}

const KINDS: readonly (readonly [RegExp, says: string, remedy: string])[] = [
  [
    /^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/,
    'has a certificate that is not valid now',
    "Renew it, or set this machine's clock",
  ],
  [/^CERT_REVOKED$/, 'has a revoked certificate', 'Ask the operator of the server for another one'],
  [
    /^ERR_SSL_.*(PROTOCOL|VERSION)/,
    'supports no TLS version that is allowed here',
    'Check ssl_min_protocol_version and ssl_max_protocol_version',
  ],
  [/^ERR_SSL_.*ALERT/, 'refused the TLS connection', 'Check sslcert and sslkey'],
  [
    /^ERR_(OSSL_|CRYPTO_OPERATION_FAILED$)/,
    'cannot be reached, because a file for TLS cannot be used',
    'Check that sslcert, sslkey, sslrootcert and sslcrl are PEM files, and that sslkey is the key of sslcert. ' +
      'An encrypted key needs sslpassword',
  ],
  [/CERT|^UNABLE_TO_/, 'has a certificate that is not trusted', 'Add sslrootcert=/path/to/ca.pem to DATABASE_URL'],
  [/^ERR_(TLS|SSL)_|^EPROTO$/, 'failed to set up TLS', 'Check that it is PostgreSQL'],
];

/** Subject, verdict, remedy. Undefined: the error is not about TLS. */
export function explainTls({ code = '', reason, message }: TlsError, database: string): string | undefined {
  const [, says, remedy] = KINDS.find(([pattern]) => pattern.test(code)) ?? [];
  return says && `${database} ${says} (${reason ?? message}). ${remedy}`;
}
