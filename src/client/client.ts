/**
 * The typed client of the API: `import { createClient } from 'rowhook/client'`. It runs in Node and
 * in browsers. Its types come from the OpenAPI document (`npm run docs`).
 */
import createFetchClient, { type Client, type ClientOptions } from 'openapi-fetch';
import { JsonText, toJson } from '../shared/json/json-text.ts';
import { parseExactly } from './exact-json.ts';
import type { paths } from './types.ts';

export { answerOf, type FieldProblem, RowhookError } from './error.ts';
export { textOf, textsOf } from './exact-json.ts';
export { followAttempts, type LiveAttempt, type StreamOptions } from './stream.ts';
export type * from './types.ts';

export interface RowhookOptions extends Omit<ClientOptions, 'bodySerializer' | 'headers'> {
  headers?: Record<string, string> | undefined;
  /**
   * An API key, or a JWT of your application. A function is asked before each request, for a token
   * that changes. A page that has a session needs none.
   */
  token?: string | (() => string | null) | undefined;
}

export type RowhookClient = Client<paths>;

type Method = 'get' | 'put' | 'post' | 'patch' | 'delete';

/** What a path answers with 200, for what has no name of its own: `AnswerTo<'/api/v1/{org}/event-types'>`. */
export type AnswerTo<P extends keyof paths, M extends Method = 'get'> = paths[P] extends {
  [method in M]: { responses: { 200: { content: { 'application/json': infer T } } } };
}
  ? T
  : never;

/** A JSON text that is sent unchanged, such as the `data` of an event. */
export function jsonText(text: string): JsonText {
  JSON.parse(text);
  return new JsonText(text);
}

type Call = (path: string, options?: { parseAs?: string }) => Promise<{ data?: unknown }>;

/**
 * `baseUrl` is the address of `rowhook serve`. Each call answers `{data, error, response}`: `error`
 * is the problem (RFC 9457) of a status of 400 and above. A network that fails throws.
 */
export function createClient({ token, headers, ...options }: RowhookOptions): RowhookClient {
  const client = createFetchClient<paths>({ ...options, ...(headers && { headers }), bodySerializer: toJson });
  client.use({
    onRequest: ({ request }) => {
      const value = typeof token === 'function' ? token() : token;
      if (value != null && !request.headers.has('authorization'))
        request.headers.set('authorization', `Bearer ${value}`);
    },
  });
  const calls = client as unknown as Record<string, Call>;
  for (const method of ['GET', 'PUT', 'POST', 'PATCH', 'DELETE']) calls[method] = exactly(calls[method] as Call);
  return client;
}

/** The answer is parsed here, because openapi-fetch would drop its text. */
function exactly(call: Call): Call {
  return async (path, options) => {
    if (options?.parseAs !== undefined && options.parseAs !== 'json') return call(path, options);
    const result = await call(path, { ...options, parseAs: 'text' });
    if (typeof result.data !== 'string') return result;
    return { ...result, data: result.data === '' ? undefined : parseExactly(result.data) };
  };
}
