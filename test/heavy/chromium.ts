import { execFileSync } from 'node:child_process'

/** What Chromium is started with, so that it asks nobody but its page's origin. */
export const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync'
]
export const executablePath = findChromium() ?? ''
/** Why tests that need Chromium are skipped, or false. */
export const noChromium = executablePath === '' ? 'chromium is not installed' : false

function findChromium(): string | null {
  try {
    return execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim()
  } catch {
    return null
  }
}
