// The daemon's log on a terminal.

import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { createLogger } from '../../src/observe/log.ts';

class Screen extends Writable {
  readonly columns = 80;
  readonly isTTY: boolean;
  text = '';

  constructor(isTTY: boolean) {
    super({ decodeStrings: false });
    this.isTTY = isTTY;
  }

  override _write(chunk: string, _: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}

test('a line is the time, the sentence and the fields, and escape sequences of tenants are shown', () => {
  const screen = new Screen(true);
  const log = createLogger('info', screen);
  log.info({ lanes: 2, held: 2 }, 'now delivering lanes 0, 1');
  log.warn({ tenant: 'a\u001b[31mcme', retry_in_ms: null, secret: 'hunter2' }, 'it refused the connection');
  log.error({ err: new Error('no such table') }, 'the session ended');
  log.debug('nobody asked for this');
  expect(stripVTControlCharacters(screen.text).replaceAll(/^\d\d:\d\d:\d\d/gm, 'TIME')).toBe(
    [
      'TIME  now delivering lanes 0, 1  lanes=2 held=2',
      'TIME  warning: it refused the connection  tenant=a\\x1b[31mcme retry_in_ms=null secret=[Redacted]',
      'TIME  error: the session ended: no such table',
      '',
    ].join('\n'),
  );
});
