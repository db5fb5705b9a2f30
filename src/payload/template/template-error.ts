/** Why a template cannot be used, or gives no body for an event. It never quotes an event's value. */
export interface Place {
  line: number;
  column: number;
}

export class TemplateError extends Error {
  readonly place: Place | null;

  constructor(message: string, place: Place | null) {
    super(message);
    this.place = place;
  }

  /** `unknown filter (line 3, column 8)` */
  get sentence(): string {
    return this.place === null
      ? this.message
      : `${this.message} (line ${this.place.line}, column ${this.place.column})`;
  }
}

/** Why a thread has ended: the template is to blame if it took too much memory. */
export function reasonOf(error: Error & { code?: string }): Error {
  if (error.code !== 'ERR_WORKER_OUT_OF_MEMORY') return error;
  return new TemplateError('rendering takes too much memory', null);
}
