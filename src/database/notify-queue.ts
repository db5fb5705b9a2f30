/**
 * The server's queue of notifications. A session that listens and stays in an open transaction, or
 * whose client reads nothing, keeps all later notifications in it, of all databases. When the queue
 * is full, every transaction that has called NOTIFY fails at COMMIT.
 */

/**
 * Above the first share nobody rings: daemons stay awake and poll. Below the second one, rings are
 * used again. sql/migrations/ has the first share too.
 */
export const QUEUE_USAGE_MAX = 0.5;
export const QUEUE_USAGE_CALM = 0.25;

/** Whether a statement failed because its NOTIFY found no room. Nothing was written. */
export function isQueueFull(error: unknown): boolean {
  const { code, routine } = error as { code?: string; routine?: string };
  return code === '54000' && routine === 'PreCommit_Notify';
}
