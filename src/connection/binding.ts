/**
 * channel_binding=require binds the login to the TLS connection, so an attacker in between cannot
 * relay it. node-postgres binds if the server offers binding, and continues without it otherwise.
 * Here the connection ends instead, before a password is sent. pg-listen makes the listener's
 * connection (database/notification-listener.ts). That connection only binds if the server offers
 * it.
 */
import type { EventEmitter } from 'node:events';
import type pg from 'pg';

interface Connection extends EventEmitter {
  readonly stream: { destroy(error: Error): void };
}

interface Client {
  readonly connection: Connection;
  /** False without TLS: an attacker who removed TLS can offer any mechanism. */
  readonly enableChannelBinding: boolean;
}

export function requireBinding(client: pg.ClientBase): void {
  const { connection, enableChannelBinding } = client as unknown as Client;
  let isBound = false;
  const refuse = () => {
    connection.stream.destroy(
      new Error('the server does not offer channel binding, which channel_binding=require needs'),
    );
  };
  connection.on('authenticationSASL', ({ mechanisms }: { mechanisms: readonly string[] }) => {
    isBound = enableChannelBinding && mechanisms.includes('SCRAM-SHA-256-PLUS');
    if (!isBound) refuse();
  });
  for (const weaker of ['authenticationCleartextPassword', 'authenticationMD5Password']) connection.on(weaker, refuse);
  connection.on('authenticationOk', () => {
    if (!isBound) refuse();
  });
}
