/**
 * Renders templates in threads. Tenants write templates, so a job may try to take all time and
 * memory. It never runs in the event loop, and its thread is ended when the job takes too long.
 *
 * Tenants take turns, and within a tenant its webhooks do. A webhook whose last job reached a limit
 * is a suspect: its jobs run in a second thread, so it takes no time from others. After a job that
 * took long, that thread rests as long as the job took. A template that reaches a limit again and
 * again is not tried for a while: its jobs fail at once.
 *
 * Threads start with the first job. They keep the process alive only while they have one.
 */
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { LIMITS } from './limits.ts';
import { reasonOf, TemplateError } from './template-error.ts';
import { Turns } from './turns.ts';
import type { Answer, Job } from './worker.ts';

/** Memory of one thread. A job that needs more ends the thread. */
const THREAD_LIMITS = { maxOldGenerationSizeMb: 192, maxYoungGenerationSizeMb: 32, stackSizeMb: 4 };

/**
 * A job that takes longer makes its webhook a suspect. Every job that reaches the limit of
 * processor time does: without that, a template that never ends would keep a core busy for good.
 */
const LONG_MS = LIMITS.renderMs;

/** Suspects that are kept: the latest ones. */
const SUSPECTS_MAX = 10_000;

/**
 * A template that has reached a limit so many times in a row is not tried for PAUSE_MS, and with
 * each further time for twice as long, up to PAUSE_MAX_MS. The 99th percentile of others beside a
 * template that never ends is 1.8 times of what it is beside a plain webhook if each job is tried,
 * and 1.0 times if jobs fail at once (npm run bench -- --only templates).
 */
const STRIKES = 3;
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 60_000;

/** A thread that is ended may have been slowed down by the machine, so its job is tried once more. */
const TRIES = 2;

export interface RenderJob {
  template: string;
  contentType: string;
  /** Makes the JSON text of a nested body, when the job starts. Null: only check the template. */
  event: (() => string) | null;
}

interface Waiting extends RenderJob {
  tenant: string;
  owner: string;
  tries: number;
  done(text: string): void;
  failed(error: Error): void;
}

/** What is known of a webhook whose last job took long. */
interface Suspect {
  template: string;
  /** Times in a row that the template has reached a limit. */
  strikes: number;
  /** By performance.now(). */
  pausedUntil: number;
}

export class Renderer {
  readonly #quick = new Lane(this, 'never rests');
  readonly #suspect = new Lane(this, 'rests');
  readonly #suspects = new Map<string, Suspect>();

  /**
   * Resolves to the output. Rejects with a TemplateError if the template is to blame. `tenant` and
   * `owner`, a webhook, are those who take turns.
   */
  render(owner: string, job: RenderJob, tenant = owner): Promise<string> {
    return new Promise((done, failed) => this.add({ ...job, tenant, owner, tries: 0, done, failed }));
  }

  add(job: Waiting): void {
    if (this.refuse(job)) return;
    const lane = this.#suspects.has(job.owner) ? this.#suspect : this.#quick;
    lane.add(job);
  }

  /** Resolves to what is wrong with a template. */
  async check(owner: string, template: string): Promise<TemplateError | null> {
    try {
      await this.render(owner, { template, contentType: '', event: null });
      return null;
    } catch (error) {
      if (error instanceof TemplateError) return error;
      throw error;
    }
  }

  /** Ends the threads. Jobs that wait never end. */
  stop(): void {
    this.#quick.stop();
    this.#suspect.stop();
  }

  /** Fails a job whose template is paused. */
  refuse({ owner, template, failed }: Waiting): boolean {
    const suspect = this.#suspects.get(owner);
    if (suspect?.template !== template) return false;
    const ms = suspect.pausedUntil - performance.now();
    if (ms <= 0) return false;
    const sentence = `rendering reached its limit ${suspect.strikes} times in a row, so it is not tried for ${Math.ceil(ms / 1000)} s`;
    failed(new TemplateError(sentence, null));
    return true;
  }

  /** Notes how a job went. One that is tried again adds no strike yet. */
  ended({ owner, template }: Waiting, ms: number, end: 'rendered' | 'failed' | 'again'): void {
    const before = this.#suspects.get(owner);
    this.#suspects.delete(owner);
    if (ms <= LONG_MS) return;
    if (this.#suspects.size >= SUSPECTS_MAX) this.#suspects.delete(this.#suspects.keys().next().value as string);
    const known = before?.template === template ? before.strikes : 0;
    const strikes = { rendered: 0, again: known, failed: known + 1 }[end];
    const pause = strikes < STRIKES ? 0 : Math.min(PAUSE_MS * 2 ** (strikes - STRIKES), PAUSE_MAX_MS);
    this.#suspects.set(owner, { template, strikes, pausedUntil: performance.now() + pause });
  }
}

/** One thread, and the jobs that wait for it. */
class Lane {
  readonly #renderer: Pick<Renderer, 'add' | 'ended' | 'refuse'>;
  readonly #rests: boolean;
  readonly #waiting = new Turns<Waiting>();
  #thread: Thread | undefined;
  #isRunning = false;
  #isStopped = false;

  constructor(renderer: Pick<Renderer, 'add' | 'ended' | 'refuse'>, rests: 'rests' | 'never rests') {
    this.#renderer = renderer;
    this.#rests = rests === 'rests';
  }

  add(job: Waiting): void {
    this.#waiting.add(job);
    if (!this.#isRunning) void this.#run();
  }

  stop(): void {
    this.#isStopped = true;
    this.#waiting.clear();
    this.#thread?.end();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    for (let job = this.#waiting.next(); job && !this.#isStopped; job = this.#waiting.next()) {
      if (this.#renderer.refuse(job)) continue;
      const ms = await this.#do(job);
      if (this.#rests && ms > LONG_MS) await sleep(ms, undefined, { ref: false });
    }
    this.#isRunning = false;
  }

  /** Resolves to the milliseconds that the job took. */
  async #do(job: Waiting): Promise<number> {
    let startedAt = performance.now();
    try {
      const thread = await this.#ready();
      const { template, contentType } = job;
      const event = job.event === null ? null : job.event();
      startedAt = performance.now();
      const answer = await thread.do({ template, contentType, event });
      const ms = performance.now() - startedAt;
      this.#renderer.ended(job, ms, 'text' in answer ? 'rendered' : 'failed');
      if ('text' in answer) job.done(answer.text);
      else job.failed(new TemplateError(answer.problem, answer.place));
      return ms;
    } catch (error) {
      const ms = performance.now() - startedAt;
      if (this.#isStopped) return ms;
      this.#thread = undefined;
      job.tries += 1;
      const isAgain = error instanceof TemplateError && job.tries < TRIES;
      this.#renderer.ended(job, ms, isAgain ? 'again' : 'failed');
      if (isAgain) this.#renderer.add(job);
      else job.failed(error as Error);
      return ms;
    }
  }

  async #ready(): Promise<Thread> {
    this.#thread ??= new Thread();
    await this.#thread.ready;
    return this.#thread;
  }
}

class Thread {
  readonly ready: Promise<unknown>;
  readonly #worker: Worker;
  #settle: PromiseWithResolvers<unknown> | undefined;

  constructor() {
    this.#worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
      resourceLimits: THREAD_LIMITS,
      execArgv: [],
      stdout: false,
    });
    this.#worker.on('message', (answer) => this.#settle?.resolve(answer));
    this.#worker.on('error', (error) => this.#settle?.reject(reasonOf(error)));
    this.ready = this.#answer().finally(() => this.#worker.unref());
  }

  /** Rejects with a TemplateError if the thread was ended because of this job. */
  async do(job: Job): Promise<Answer> {
    this.#worker.ref();
    const timer = setTimeout(() => {
      this.#settle?.reject(new TemplateError(`rendering takes more than ${LIMITS.threadMs} ms`, null));
      this.end();
    }, LIMITS.threadMs);
    try {
      const answer = this.#answer();
      this.#worker.postMessage(job);
      return (await answer) as Answer;
    } finally {
      clearTimeout(timer);
      this.#worker.unref();
    }
  }

  end(): void {
    void this.#worker.terminate();
  }

  #answer(): Promise<unknown> {
    this.#settle = Promise.withResolvers();
    return this.#settle.promise;
  }
}
