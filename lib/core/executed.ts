/**
 * Whether what failed may have been done: `no`, it was not, so it may be tried elsewhere; `yes`, it was, and failed;
 * `perhaps`, nobody here knows.
 */
export type Executed = 'no' | 'yes' | 'perhaps'

/** What somebody else said of that. */
export function executedOf(value: unknown): Executed {
  return value === 'no' || value === 'yes' ? value : 'perhaps'
}
