/** What each code of an attempt means for whoever looks, and what to do about it. */

const MEANINGS: Readonly<Record<string, readonly [what: string, remedy: string]>> = {
  delivered: ['The receiver accepted it.', ''],
  http_error: [
    'The receiver answered with an error.',
    'Read its answer below, and the log of the receiver at this time.',
  ],
  redirect_refused: [
    'The receiver answered with a redirect. rowhook follows none.',
    'Put the final address into Target URL.',
  ],
  gone: [
    'The receiver answered 410: it wants no more.',
    'rowhook has disabled the webhook. Switch it on if that was a mistake.',
  ],
  timeout: [
    'The receiver did not answer in time.',
    'Let it store the event, answer 2xx at once, and do the slow work afterwards. Or raise the timeout in Settings.',
  ],
  dns_failed: [
    'The name in the URL cannot be resolved.',
    'Check Target URL for a typing mistake, then the DNS record.',
  ],
  connection_refused: ['Nothing listens at this address and port.', 'Start the receiver, or correct the port.'],
  connection_reset: [
    'The connection was closed before the answer.',
    'Look into the log of the receiver and of the proxy in front of it.',
  ],
  connection_failed: [
    'No connection could be made.',
    'A firewall may be in the way: Help lists the addresses we send from.',
  ],
  tls_failed: [
    'The certificate was refused.',
    'It may be expired, self-signed, for another name, or without its chain. Renew it.',
  ],
  proxy_failed: ['Our own proxy opened no way to the receiver.', 'Tell whoever runs rowhook.'],
  protocol_error: ['The answer was not valid HTTP.', 'Check that Target URL names a web server, and the right port.'],
  address_refused: [
    'The address is private, or not allowed.',
    'Use a public address, or ask whoever runs rowhook to allow it.',
  ],
  http_refused: ['The URL begins with http://.', 'Use https://, or ask whoever runs rowhook to allow http.'],
  webhook_inactive: ['The webhook was switched off.', 'Switch it on, then replay what it missed.'],
  webhook_disabled: ['rowhook had disabled the webhook.', 'Switch it on, then replay what it missed.'],
  webhook_deleted: ['The webhook was deleted before it was sent.', ''],
  webhook_unusable: ['A setting of the webhook cannot be used.', 'Save its settings again.'],
  filter_failed: ['The filter has no result for this event.', 'Simplify the filter, or filter by a smaller column.'],
  template_failed: ['The template failed at this event.', 'Correct the template, then replay.'],
  loop_cut: ['The event has gone round too often.', 'Two systems answer each other. Filter one of the directions.'],
  payload_lost: ["The event's data is gone.", ''],
  unreadable: ['The event has bytes that are not text.', ''],
};

/** In a table: "HTTP error" for http_error. */
export function codeText(code: string): string {
  const text = code.replaceAll('_', ' ').replace(/\b(http|dns|tls)\b/g, (name) => name.toUpperCase());
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export const meaningOf = (code: string) => MEANINGS[code]?.[0] ?? code;
export const remedyOf = (code: string) => MEANINGS[code]?.[1] ?? '';
