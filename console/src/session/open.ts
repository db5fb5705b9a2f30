/** How a session begins: by a portal link in the fragment, or by an API key. */
import type { Me } from 'rowhook/client';
import { answerOf, asking, setToken } from '../api/client.ts';

const STORED_AS = 'rowhook.token';

/** A frame of another site may have no storage. Then the session ends with the page. */
export function stored(): string | null {
  try {
    return sessionStorage.getItem(STORED_AS);
  } catch {
    return null;
  }
}

function store(token: string): void {
  setToken(token);
  try {
    sessionStorage.setItem(STORED_AS, token);
  } catch {
    // As above.
  }
}

export function forget(): void {
  setToken(null);
  try {
    sessionStorage.removeItem(STORED_AS);
  } catch {
    // As above.
  }
}

/** The token of a portal link. It leaves the address at once, so that no history holds it. */
export function takeLink(): string | null {
  const token = new URLSearchParams(window.location.hash.slice(1)).get('token');
  if (token === null) return null;
  window.history.replaceState(window.history.state, '', window.location.pathname + window.location.search);
  return token;
}

async function start(link: { token?: string }, headers: Record<string, string> = {}): Promise<Me> {
  const bearer = window.self !== window.top;
  const body = { ...link, ...(bearer && { bearer }) };
  const { token, ...me } = await answerOf(asking.POST('/api/v1/session', { body, headers }));
  if (token !== undefined) store(token);
  return me;
}

/** Whoever was signed in before is not any more: a link names another visitor. */
export function openLink(token: string): Promise<Me> {
  forget();
  return start({ token });
}

/** The key itself is not kept. */
export function signIn(key: string): Promise<Me> {
  forget();
  return start({}, { authorization: `Bearer ${key}` });
}
