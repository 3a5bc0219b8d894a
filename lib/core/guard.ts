import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/**
 * A shell script that waits for a word. If none comes, because our process has ended, it kills the group of
 * processes that it is given, and all that is left in the cgroups. It repeats that, as they may start others meanwhile.
 */
const GUARD = `
read -r word && exit
pid=$1; shift
for round in 1 2 3 4 5; do
  for group; do echo 1 > "$group/cgroup.kill"; done
  kill -s KILL -- "-$pid"
  for group; do while read -r one; do kill -s KILL -- "$one"; done < "$group/cgroup.procs"; done
done
`

/**
 * Starts a process that ends a group of processes when this process ends, even by SIGKILL. (Linux can signal a program
 * when its parent ends, `PR_SET_PDEATHSIG`. But what the program has started would run on.)
 *
 * @param onlost called when the guard has ended before it was told to
 * @returns what ends the guard, and nothing else
 * @throws errors of the operating system where it cannot be started
 */
export async function guardGroup(
  pid: number,
  cgroups: readonly string[],
  onlost: () => void
): Promise<() => void> {
  const args = ['-c', GUARD, 'sh', `${pid}`, ...cgroups]
  const guard: ChildProcess = spawn('/bin/sh', args, {
    cwd: '/',
    env: {},
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true
  })
  await once(guard, 'spawn')
  guard.unref()
  guard.once('exit', onlost)
  const { stdin } = guard
  stdin?.on('error', () => {})
  if (stdin && 'unref' in stdin) (stdin.unref as () => void)()
  return () => {
    guard.off('exit', onlost)
    stdin?.end('over\n')
  }
}

/** Whether a process may lead a group, with all that it starts. */
export const hasGroups = process.platform !== 'win32'

/** Sends a signal to a process that leads a group, and to its group. */
export function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals) {
  if (pid === undefined) return
  try {
    process.kill(hasGroups ? -pid : pid, signal)
  } catch {
    // All of them have ended in the meantime.
  }
}

/**
 * The same as `guardGroup` for a group that may do without: where there is no shell, as in some containers, nobody ends
 * it in our place.
 *
 * @returns what ends the guard, and nothing else
 */
export async function tryToGuardGroup(pid: number): Promise<() => void> {
  if (!hasGroups) return nothing
  return guardGroup(pid, [], nothing).catch(() => nothing)
}

function nothing() {}
