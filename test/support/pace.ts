import { setInterval } from 'node:timers/promises';

/** Does `work` again and again, every `ms` while that is kept up with, until `isOver`. */
export async function atPace(ms: number, isOver: () => boolean, work: () => unknown): Promise<void> {
  for await (const _ of setInterval(ms)) {
    if (isOver()) return;
    await work();
  }
}
