// A process of one's own that answers questions: what costs CPU must not share the event loop with what is measured.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

interface Answer {
  value?: unknown;
  error?: string;
}

export class Child {
  readonly #process: ChildProcess;

  constructor(file: string, args: string[] = []) {
    this.#process = fork(join(import.meta.dirname, file), args, { serialization: 'advanced' });
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  /** One question at a time. */
  async ask<T>(question: string, parameters: unknown = null): Promise<T> {
    const over = new AbortController();
    const ended = once(this.#process, 'exit', { signal: over.signal }).then(
      () => [{ error: `it ended before it answered ${question}` }],
      () => [],
    );
    this.#process.send({ question, parameters });
    const [answer] = (await Promise.race([once(this.#process, 'message'), ended])) as [Answer];
    over.abort();
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value as T;
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.disconnect();
    await ended;
  }
}

/** In the child: answers until the parent lets go. */
export function answer(answers: Record<string, (parameters: never) => unknown>): void {
  process.on('message', async ({ question, parameters }: { question: string; parameters: never }) => {
    try {
      process.send?.({ value: await answers[question]?.(parameters) });
    } catch (error) {
      process.send?.({ error: `${question}: ${(error as Error).stack}` });
    }
  });
  process.once('disconnect', () => process.exit());
}
