/** The same words again within this time tell nobody anything new. */
const REPEAT_AFTER_MS = 10_000
const SILENCE_MS = 3000
const REMINDER_MS = 30_000
const MAX_REMEMBERED = 1000

const lastSaid = new Map<string, number>()

/** Tells the person at the terminal, on stderr: stdout is for what was asked for. */
export function say(text: string): void {
  const now = Date.now()
  if (now - (lastSaid.get(text) ?? -Infinity) < REPEAT_AFTER_MS) return
  if (lastSaid.size >= MAX_REMEMBERED) lastSaid.clear()
  lastSaid.set(text, now)
  console.error(text)
}

/** Waits for a promise, and after three seconds says for what; then now and again. */
export async function waitAloud<T>(promise: Promise<T>, waiting: () => string): Promise<T> {
  const remind = () => {
    console.error(waiting())
    timer = setTimeout(remind, REMINDER_MS)
  }
  let timer = setTimeout(remind, SILENCE_MS)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
  }
}
