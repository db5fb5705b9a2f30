/** One request of the API: the token, JSON both ways, and an error that says what to do. */

export interface FieldError {
  field: string;
  message: string;
}

/** RFC 9457, or what stands for it when nothing answered. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly errors: readonly FieldError[];

  constructor(status: number, code: string, detail: string, errors: readonly FieldError[] = []) {
    super(detail);
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
}

export interface Request {
  method?: string;
  query?: Record<string, string | number | boolean | null | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** The caller itself answers a 401. By default the session has ended then. */
  isFirst?: boolean;
}

let token: string | null = null;
let refused: () => void = () => {};

/** Null: a cookie is the session, or there is none. */
export function setToken(value: string | null): void {
  token = value;
}

export function onRefused(listener: () => void): void {
  refused = listener;
}

export function authorization(): Record<string, string> {
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/** The text of the answer: numbers in it keep all their digits. */
export async function request(path: string, options: Request = {}): Promise<Answer> {
  const { method = 'GET', query = {}, body, headers = {}, signal, isFirst = false } = options;
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') parameters.set(name, String(value));
  }
  const search = parameters.size > 0 ? `?${parameters}` : '';
  const response = await fetch(`/api${path}${search}`, {
    method,
    headers: { ...authorization(), ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    ...(signal && { signal }),
  }).catch((error: Error) => {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'unreachable', 'The server cannot be reached. Check your connection, then try again.');
  });
  const text = await response.text();
  if (response.ok) return { status: response.status, headers: response.headers, text };
  const error = problemOf(response.status, text);
  if (error.status === 401 && !isFirst) refused();
  throw error;
}

export async function json<T>(path: string, options?: Request): Promise<T> {
  const { text } = await request(path, options);
  return (text === '' ? null : JSON.parse(text)) as T;
}

function problemOf(status: number, text: string): ApiError {
  try {
    const { code = 'error', detail = '', errors = [] } = JSON.parse(text);
    return new ApiError(status, String(code), String(detail), Array.isArray(errors) ? errors : []);
  } catch {
    return new ApiError(status, 'error', `The server answered ${status}. Try again in a moment.`);
  }
}
