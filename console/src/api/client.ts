/** The API, by its typed client alone. */
import { createClient } from 'rowhook/client';

export { answerOf, RowhookError } from 'rowhook/client';

let token: string | null = null;
let refused: () => void = () => {};

/** Null: a cookie is the session, or there is none. */
export function setToken(value: string | null): void {
  token = value;
}

export function onRefused(listener: () => void): void {
  refused = listener;
}

/** Where a 401 says something of a token that was typed, and nothing of the session. */
export const asking = createClient({ token: () => token });

/** A 401 of it ends the session. */
export const client = createClient({ token: () => token });
client.use({
  onResponse: ({ response }) => {
    if (response.status === 401) refused();
  },
});

type Value = string | number | boolean | null | undefined;

/**
 * A query without what is empty: an empty filter is none. Values come from the address, which may
 * hold anything, so the server judges them: they fit every type.
 */
export function queryOf<V extends Record<string, Value>>(values: V): { [name in keyof V]?: never } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value != null && value !== '')) as object;
}
