/** Quotes a text for POSIX shells. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Quotes a text only if a shell needs the quotes. */
export function shellWord(text: string): string {
  return /^[\w.,:@%+/-]+$/.test(text) ? text : quoted(text);
}

/** A request as a command to paste into a shell. `input` says where the body comes from. */
export function curlCommand(
  request: { method: string; url: string; headers: readonly string[] },
  input: string,
): string {
  return [
    `curl -i -X ${request.method} ${quoted(request.url)}`,
    ...request.headers.map((header) => `-H ${quoted(header)}`),
    `--data-binary ${input}`,
  ].join(' \\\n  ');
}
