/**
 * channel_binding=require: the login is bound to the TLS connection, so whoever stands in between cannot pass it on.
 * node-postgres binds where the server offers it, and goes on without where it does not; here the connection ends instead,
 * before a password was sent. The listener's connection (database/notification-listener.ts), which pg-listen makes, only binds where that is offered.
 */
import type { EventEmitter } from 'node:events';
import type pg from 'pg';

interface Connection extends EventEmitter {
  readonly stream: { destroy(error: Error): void };
}

interface Client {
  readonly connection: Connection;
  /** False without TLS: whoever took that away may offer what he likes. */
  readonly enableChannelBinding: boolean;
}

export function requireBinding(client: pg.ClientBase): void {
  const { connection, enableChannelBinding } = client as unknown as Client;
  let isBound = false;
  const refuse = () => {
    connection.stream.destroy(
      new Error('the server offers no channel binding, which channel_binding=require asks for'),
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
