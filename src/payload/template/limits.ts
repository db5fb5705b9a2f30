/** What a template may have and take. */
export const LIMITS = {
  templateBytes: 16 * 1024,
  outputBytes: 1024 * 1024,
  /** The library stops rendering after this time. */
  renderMs: 20,
  /** The thread is ended after this time, whatever it is doing. */
  threadMs: 250,
} as const;
