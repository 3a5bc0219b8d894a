import { execFileSync } from 'node:child_process'

/** Few enough to be used up soon, and enough for Node itself. */
const LIMIT = 100
const USE_UP = `
  import { closeSync, openSync } from 'node:fs'
  const taken = []
  /** Uses up all files that may be open, but for a few. */
  globalThis.leaveOpen = (few) => {
    try {
      for (;;) taken.push(openSync('/dev/null'))
    } catch {}
    for (const one of taken.splice(0, few)) closeSync(one)
  }
`

export const skipWithoutLimits = process.platform === 'win32' && 'there is no ulimit'

/**
 * Runs a script in a process that may open few files, and uses them up by `leaveOpen(few)`.
 *
 * @returns what it prints, as JSON
 */
export function withFewFiles(script: string, ...args: string[]): unknown {
  const node = [process.execPath, '--input-type=module', '--eval', USE_UP + script]
  const line = ['-c', `ulimit -n ${LIMIT}; exec env -u NODE_OPTIONS "$@"`, '-', ...node, ...args]
  return JSON.parse(execFileSync('sh', line, { encoding: 'utf8' }))
}
