/** The message of what was thrown. That may be any value, and reading it may throw as well. */
export function messageOf(thrown: unknown): string {
  try {
    const { message } = (thrown ?? {}) as { message?: unknown }
    return String(typeof message === 'string' ? message : thrown)
  } catch {
    return 'it threw what cannot be told'
  }
}
