/** Why an event is thin. Pure. */

/**
 * The reason in the body: `too_large`, or the SQLSTATE of the error. The error's message is only
 * for those who run the database.
 */
export function truncatedReason(truncated: string): string {
  return truncated === 'too_large' ? truncated : `error_${/^[0-9A-Z]{5}(?=:)/.exec(truncated)?.[0] ?? 'unknown'}`;
}
