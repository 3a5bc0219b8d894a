import { AsyncLocalStorage } from 'node:async_hooks'
import { Lifetime } from '../../bin/lifetime.js'
import { Program } from '../../bin/program.js'
import { SerialQueue } from '../../lib/core/serial-queue.js'

type Stream = 'stdout' | 'stderr'

/** Where what is printed on behalf of a command goes, instead of to this process's own output. */
const printed = new AsyncLocalStorage<Record<Stream, string>>()
for (const name of ['stdout', 'stderr'] as const) {
  const stream = process[name]
  const write = stream.write.bind(stream)
  stream.write = ((...args: Parameters<typeof write>) => {
    const output = printed.getStore()
    if (!output) return write(...args)
    output[name] += String(args[0])
    return true
  }) as typeof write
}

/** One command at a time: a process has one working folder, and one environment. */
const commands = new SerialQueue()

/**
 * Runs a command in this process, as the binary would in one of its own: for tests of what a command answers, where
 * starting a process would cost ten times as much as the command. It must end by itself, and read no stdin.
 */
export async function runInProcess(line: string[], cwd: string, environment: NodeJS.ProcessEnv) {
  return commands.run(async () => {
    const [folder, before] = [process.cwd(), { ...process.env }]
    process.chdir(cwd)
    setEnvironment(environment)
    const output = { stdout: '', stderr: '' }
    try {
      const code = await printed.run(output, () => exitCodeOf(line))
      return { code, signal: null, ...output }
    } finally {
      process.chdir(folder)
      setEnvironment(before)
    }
  })
}

async function exitCodeOf(line: string[]): Promise<number> {
  const program = new Program(new Lifetime())
  try {
    await program.run(line)
    return 0
  } catch (error) {
    const { text, exitCode } = program.failureOf(error)
    process.stderr.write(`${text}\n`)
    return exitCode
  }
}

/** Of what stands already, the values alone are changed: libc has it too, and tells Node the home. */
function setEnvironment(environment: NodeJS.ProcessEnv) {
  for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name]
  Object.assign(process.env, environment)
}
