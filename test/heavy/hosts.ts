import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'

/** Why there can be no hosts here, or false. */
export const noHosts = whyNot()

/**
 * Several hosts on this machine: network namespaces, joined by a bridge that plays the internet, or a
 * LAN. They are gone at the test's end.
 */
export class Hosts {
  readonly #id = randomBytes(3).toString('hex')
  readonly #bridge = `br${this.#id}`
  readonly #names: string[] = []
  readonly #addresses = new Map<string, string>()

  constructor(t: Test) {
    ip('link', 'add', this.#bridge, 'type', 'bridge')
    ip('link', 'set', this.#bridge, 'up')
    t.teardown(() => {
      for (const name of this.#names) ip('netns', 'del', name)
      ip('link', 'del', this.#bridge)
    })
  }

  /** A host on the bridge. Returns the words that run a command there. */
  add(name: string, address: string): string[] {
    const host = this.#namespace(name)
    const cable = `v${this.#id}${this.#names.length}`
    ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host)
    ip('link', 'set', cable, 'master', this.#bridge, 'up')
    ip('-n', host, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
    ip('-n', host, 'link', 'set', 'eth0', 'up')
    run([...inside(host), 'nft', CUT])
    this.#addresses.set(name, address)
    return inside(host)
  }

  /** Loses every packet between two hosts of the bridge, as a line that breaks far away does: nobody is told. */
  cut(one: string, other: string) {
    this.#lose('add', one, other)
    this.#lose('add', other, one)
  }

  /** Ends that. */
  heal(one: string, other: string) {
    this.#lose('delete', one, other)
    this.#lose('delete', other, one)
  }

  /** What comes from one host is, or is no longer, dropped at the other. */
  #lose(verb: 'add' | 'delete', from: string, at: string) {
    const element = `{ ${this.#addresses.get(from)} }`
    run([...inside(this.#nameOf(at)), 'nft', verb, 'element', 'ip', 'cut', 'lost', element])
  }

  /** A host behind a router of its own, which has this address, hides it, and takes no calls itself. */
  addBehindNat(name: string, address: string, lan: string): string[] {
    const router = this.#nameOf(`${name}-nat`)
    this.add(`${name}-nat`, address)
    const host = this.#namespace(name)
    const cable = `w${this.#id}${this.#names.length}`
    ip('link', 'add', cable, 'netns', router, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host)
    ip('-n', router, 'addr', 'add', `${lan}.1/24`, 'dev', cable)
    ip('-n', router, 'link', 'set', cable, 'up')
    ip('-n', host, 'addr', 'add', `${lan}.2/24`, 'dev', 'eth0')
    ip('-n', host, 'link', 'set', 'eth0', 'up')
    ip('-n', host, 'route', 'add', 'default', 'via', `${lan}.1`)
    const at = inside(router)
    run([...at, 'sysctl', '-qw', 'net.ipv4.ip_forward=1'])
    run([...at, 'nft', NAT])
    return inside(host)
  }

  #namespace(name: string): string {
    const host = this.#nameOf(name)
    ip('netns', 'add', host)
    this.#names.push(host)
    ip('-n', host, 'link', 'set', 'lo', 'up')
    return host
  }

  #nameOf(name: string): string {
    return `hs${this.#id}-${name}`
  }
}

/** Unasked packets are dropped, as routers do: else Linux gives the next caller another port. */
const NAT = `
  add table ip nat
  add chain ip nat out { type nat hook postrouting priority 100; }
  add rule ip nat out oifname eth0 masquerade
  add chain ip nat in { type filter hook input priority 0; }
  add rule ip nat in iifname eth0 ct state new drop
`

/** Whose packets are lost. */
const CUT = `
  add table ip cut
  add set ip cut lost { type ipv4_addr; }
  add chain ip cut in { type filter hook input priority -10; }
  add rule ip cut in ip saddr @lost drop
`

function inside(host: string): string[] {
  return ['ip', 'netns', 'exec', host]
}

function ip(...args: string[]) {
  run(['ip', ...args])
}

function run([program = '', ...args]: string[]) {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'only root makes network namespaces'
  for (const program of ['ip', 'nft', 'curl']) {
    if (spawnSync('which', [program]).status !== 0) return `there is no ${program} on this machine`
  }
  const probe = `hs-probe-${process.pid}`
  if (spawnSync('ip', ['netns', 'add', probe]).status !== 0) return 'no network namespaces here'
  spawnSync('ip', ['netns', 'del', probe])
  return false
}
