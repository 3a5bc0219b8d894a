import { SeaportError } from './errors.js'

/** The message of what was thrown. That may be any value, and reading it may throw as well. */
export function messageOf(thrown: unknown): string {
  try {
    const { message } = (thrown ?? {}) as { message?: unknown }
    return String(typeof message === 'string' ? message : thrown)
  } catch {
    return 'it threw what cannot be told'
  }
}

/** What was thrown, if it is an error of ours. Null for all else, also for what cannot be looked at, as a revoked proxy. */
export function ownError(thrown: unknown): SeaportError | null {
  try {
    return thrown instanceof SeaportError ? thrown : null
  } catch {
    return null
  }
}
