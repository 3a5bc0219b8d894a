import { execFileSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { occupancyOf } from '../../lib/hosting/occupancy.js'
import type { Machines } from './machines.js'
import type { Marked } from './marked.js'

const CGROUPS = '/sys/fs/cgroup'
const LISTENING = '0A'
/** 127.0.0.1, as the kernel's table of sockets has it. */
const LOOPBACK = '0100007F'
/** Of a host's key, in the names of its cgroups. */
const KEY_CHARACTERS = 16
/** A host listens on loopback itself, and for each instance once more. */
const OWN_PORTS = 1
/** What runs, and what may have to come back. */
const MAX_BUNDLES = 2

/**
 * What is on a machine that nothing which runs there needs, in words; null if there is nothing.
 *
 * @param app the only one that there is
 * @param running what runs of it, on all machines
 */
export async function leftoversOn(
  machines: Machines,
  name: string,
  app: string,
  running: readonly Marked[]
): Promise<string | null> {
  const { at, host } = machines.machine(name)
  const here = running.filter(({ env }) => env.APP_HOST === name)
  const folder = machines.folderOf(name)
  const slots = sorted(here.map(({ env }) => env.APP_INSTANCE ?? ''))
  const ports = sorted(here.map(({ env }) => env.PORT ?? ''))
  const found = {
    slots: await slotsIn(join(folder, 'instances', app)),
    ports: await portsAt(at),
    groups: await groupsOf(host?.ready.key ?? ''),
    bundles: await namesIn(join(folder, 'bundles')),
    jobs: await namesIn(join(folder, 'jobs')),
    chunks: await namesIn(join(folder, 'chunks'))
  }
  const isPart = (file: string) => file.includes('.')
  const faults = [
    `${found.slots}` !== `${slots}` && `places ${found.slots} for ${slots}`,
    found.ports.length !== ports.length + OWN_PORTS + here.length && `ports ${found.ports}`,
    ports.some((port) => !found.ports.includes(port)) && `ports ${found.ports} without ${ports}`,
    // Where none can be made there are none.
    ![`${slots}`, ''].includes(`${found.groups}`) && `cgroups ${found.groups} for ${slots}`,
    (found.bundles.length > MAX_BUNDLES || found.bundles.some(isPart)) &&
      `bundles ${found.bundles}`,
    found.jobs.length > 0 && `jobs ${found.jobs}`,
    found.chunks.some(isPart) && `parts of chunks`
  ].filter((fault) => fault !== false)
  return faults.length === 0 ? null : `${name} has ${faults.join(', ')}`
}

/** The places of instances that are said to run. */
async function slotsIn(folder: string): Promise<string[]> {
  const slots = await namesIn(folder)
  const taken = await Promise.all(
    slots.map(async (slot) => (await occupancyOf(join(folder, slot))) !== null)
  )
  return sorted(slots.filter((_, i) => taken[i]))
}

/** The places of instances that have a cgroup, whichever tree it is in. */
async function groupsOf(host: string): Promise<string[]> {
  const prefix = host.slice(0, KEY_CHARACTERS)
  const names = execFileSync('find', [CGROUPS, '-type', 'd', '-path', `*/hyperseaport/${prefix}-*`])
  const slots = `${names}`
    .split('\n')
    .filter(Boolean)
    .map((path) => path.slice(path.lastIndexOf('-') + 1))
  return sorted([...new Set(slots)])
}

/** The ports at which something listens on loopback, as instances do. */
async function portsAt(at: readonly string[]): Promise<string[]> {
  const [command = '', ...words] = [...at, 'cat', '/proc/net/tcp']
  const lines = `${execFileSync(command, words)}`
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
  const listening = lines.filter(([, , , state]) => state === LISTENING)
  const addresses = listening.map(([, address = '']) => address.split(':'))
  const own = addresses.filter(([host]) => host === LOOPBACK)
  return sorted(own.map(([, port = '']) => `${Number.parseInt(port, 16)}`))
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => [])
}

function sorted(items: readonly string[]): string[] {
  return [...items].sort()
}
