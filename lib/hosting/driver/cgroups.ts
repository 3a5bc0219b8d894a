import { access, constants, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { signalTo } from './proc.js'

export interface Limits {
  /** Bytes; 0 for none. */
  memory: number
  cpu: number | null
  pids: number
}

/** The controllers that are used, each of which version 1 has a tree of its own for. */
const CONTROLLERS = ['memory', 'pids', 'cpu'] as const
type Controller = (typeof CONTROLLERS)[number]

const ROOT = '/sys/fs/cgroup'
const GROUP = 'hyperseaport'
const CPU_PERIOD_US = 100_000
const KILL_ROUNDS = 200
const KILL_PAUSE_MS = 10

/** A tree of groups that this process may make groups in. */
interface Tree {
  /** Where ours are. */
  path: string
  version: 1 | 2
  controllers: readonly Controller[]
}

/**
 * Groups of processes with limits, as the kernel has them: version 1, 2, or both at once. In each tree ours are below the
 * group of this process, so that what limits us limits them.
 */
export class Cgroups {
  readonly #trees: readonly Tree[]

  private constructor(trees: readonly Tree[]) {
    this.#trees = trees
  }

  /** Finds out what can be made here: nothing, for one who is not root and was given no group. */
  static async find(): Promise<Cgroups> {
    const own = await ownGroups()
    const trees: Tree[] = []
    for (const controller of CONTROLLERS) {
      const at = own.get(controller)
      const tree =
        at === undefined ? null : await makeTree(join(ROOT, controller, at), 1, [controller])
      if (tree) trees.push(tree)
    }
    const at = own.get('')
    for (const root of at === undefined ? [] : [join(ROOT, 'unified'), ROOT]) {
      const tree = await makeUnified(join(root, at ?? ''))
      if (!tree) continue
      trees.push(tree)
      break
    }
    return new Cgroups(trees)
  }

  /** Which limits can be set. */
  get controllers(): string[] {
    return [...new Set(this.#trees.flatMap(({ controllers }) => controllers))].sort()
  }

  /**
   * Makes a group for an instance in each tree.
   *
   * @returns their folders; write a pid to `cgroup.procs` in each
   */
  async make(name: string, limits: Limits): Promise<string[]> {
    const groups: string[] = []
    for (const { path, version, controllers } of this.#trees) {
      const group = join(path, name)
      // A host that was killed in the wrong moment may have left something that it knew nothing of.
      await endGroup(group)
      await mkdir(group, { recursive: true })
      groups.push(group)
      for (const controller of controllers) {
        for (const [file, value] of settings(controller, version, limits)) {
          await writeFile(join(group, file), value).catch(() => {})
        }
      }
    }
    return groups
  }
}

/** Ends all that is in a group. Resolves when it is empty and gone, or cannot be emptied. */
export async function endGroup(group: string) {
  // Version 2 can do so at once.
  await writeFile(join(group, 'cgroup.kill'), '1').catch(() => {})
  for (let round = 0; round < KILL_ROUNDS; round++) {
    const pids = await pidsIn(group)
    if (pids.length === 0) break
    for (const pid of pids) signalTo(pid, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, KILL_PAUSE_MS))
  }
  await rmdir(group).catch(() => {})
}

export async function pidsIn(group: string): Promise<number[]> {
  const text = await readFile(join(group, 'cgroup.procs'), 'utf8').catch(() => '')
  return text.split('\n').filter(Boolean).map(Number)
}

/** Whether the kernel has killed something in a group because it had no more memory. */
export async function hasRunOut(group: string): Promise<boolean> {
  for (const file of ['memory.oom_control', 'memory.events']) {
    const text = await readFile(join(group, file), 'utf8').catch(() => '')
    if (/^oom_kill [1-9]/m.test(text)) return true
  }
  return false
}

/** Bytes that a group uses; null if it does not count them. */
export async function memoryOf(group: string): Promise<number | null> {
  for (const file of ['memory.usage_in_bytes', 'memory.current']) {
    const text = await readFile(join(group, file), 'utf8').catch(() => null)
    if (text !== null) return Number(text)
  }
  return null
}

function settings(
  controller: Controller,
  version: 1 | 2,
  { memory, cpu, pids }: Limits
): [file: string, value: string][] {
  if (controller === 'pids') return [['pids.max', String(pids)]]
  if (controller === 'memory' && memory > 0) {
    // What is swapped out is used all the same. Version 1 takes that limit only after the other.
    return version === 1
      ? [
          ['memory.limit_in_bytes', String(memory)],
          ['memory.memsw.limit_in_bytes', String(memory)]
        ]
      : [
          ['memory.max', String(memory)],
          ['memory.swap.max', '0']
        ]
  }
  if (controller !== 'cpu' || cpu === null) return []
  const quota = Math.max(1000, Math.round(cpu * CPU_PERIOD_US))
  return version === 1
    ? [['cpu.cfs_quota_us', String(quota)]]
    : [['cpu.max', `${quota} ${CPU_PERIOD_US}`]]
}

/** The groups of this process, by controller; that of version 2 has no name. */
async function ownGroups(): Promise<Map<string, string>> {
  const text = await readFile('/proc/self/cgroup', 'utf8').catch(() => '')
  const groups = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    for (const name of names?.split(',') ?? []) groups.set(name, path ?? '/')
  }
  return groups
}

async function makeTree(
  parent: string,
  version: 1 | 2,
  controllers: readonly Controller[]
): Promise<Tree | null> {
  const path = join(parent, GROUP)
  try {
    await access(join(parent, 'cgroup.procs'), constants.W_OK)
    await mkdir(path, { recursive: true })
    return { path, version, controllers }
  } catch {
    return null
  }
}

/** Version 2 lets no group have both processes and groups with limits, so controllers that it has go to ours if they can. */
async function makeUnified(parent: string): Promise<Tree | null> {
  const tree = await makeTree(parent, 2, [])
  if (!tree) return null
  const available = await readFile(join(parent, 'cgroup.controllers'), 'utf8').catch(() => '')
  const controllers: Controller[] = []
  for (const controller of CONTROLLERS) {
    if (!available.split(/\s/).includes(controller)) continue
    const isOn = await enable(parent, tree.path, controller)
    if (isOn) controllers.push(controller)
  }
  return { ...tree, controllers }
}

async function enable(parent: string, path: string, controller: Controller): Promise<boolean> {
  try {
    for (const at of [parent, path]) {
      await writeFile(join(at, 'cgroup.subtree_control'), `+${controller}`)
    }
    return true
  } catch {
    return false
  }
}
