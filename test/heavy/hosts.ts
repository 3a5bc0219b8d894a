import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'

/** Why there can be no hosts here, or false. */
export const noHosts = whyNot()

/** What stands between a host and the internet. */
export const KINDS = [
  /** Nothing. */
  'public',
  /** A router that hides one address behind another, keeps ports, and takes no calls. */
  'home',
  /** The same, but each call leaves from another port. */
  'symmetric',
  /** A router that passes all calls on to this host. */
  'cone',
  /** Two routers, one behind the other. */
  'double',
  /** A router at home, behind a carrier's that gives each call another port, as in phone networks. */
  'cgnat',
  /** An address of its own, and a firewall that takes no calls. */
  'firewall',
  /** A router that lets no UDP through. */
  'blocked'
] as const

export type Kind = (typeof KINDS)[number]

/** What hosts and routers are plugged into. */
export interface Lan {
  /** The namespace that its bridge is in, or null if it is this machine's own. */
  readonly at: string | null
  readonly bridge: string
  /** Where everything else is reached. */
  readonly gateway: string | null
}

/** The owner of the hosts: a test, or a program that tears down itself. */
export interface Owner {
  teardown(close: () => unknown): void
}

/**
 * Several hosts on this machine: network namespaces, joined by a bridge that plays the internet, or a
 * LAN, and by routers. They are gone at the test's end.
 */
export class Hosts {
  /** What is plugged in here has the addresses that it says. Give those of the internet no private ones. */
  readonly internet: Lan
  readonly #id = randomBytes(3).toString('hex')
  readonly #names: string[] = []
  readonly #addresses = new Map<string, string>()
  #cables = 0

  constructor(owner: Owner) {
    this.internet = { at: null, bridge: `br${this.#id}`, gateway: null }
    ip('link', 'add', this.internet.bridge, 'type', 'bridge')
    ip('link', 'set', this.internet.bridge, 'up')
    owner.teardown(() => {
      for (const name of this.#names) ip('netns', 'del', name)
      ip('link', 'del', this.internet.bridge)
    })
  }

  /** A host on the internet, or on a LAN. Returns the words that run a command there. */
  add(name: string, address: string, lan: Lan = this.internet): string[] {
    const host = this.#namespace(name)
    const cable = `v${this.#id}${this.#cables++}`
    ip(...to(lan.at), 'link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host)
    ip(...to(lan.at), 'link', 'set', cable, 'master', lan.bridge, 'up')
    ip('-n', host, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
    ip('-n', host, 'link', 'set', 'eth0', 'up')
    if (lan.gateway) ip('-n', host, 'route', 'add', 'default', 'via', lan.gateway)
    run([...inside(host), 'nft', CUT])
    this.#addresses.set(name, address)
    return inside(host)
  }

  /**
   * A router on a LAN, which hides a LAN of its own behind its address.
   *
   * @param inner the first three bytes of the addresses behind it, as in 192.168.1
   */
  addRouter(name: string, address: string, inner: string, rules: Rules = {}, lan?: Lan): Lan {
    const at = this.add(name, address, lan)
    const router = this.#nameOf(name)
    ip('-n', router, 'link', 'add', 'lan', 'type', 'bridge')
    ip('-n', router, 'addr', 'add', `${inner}.1/24`, 'dev', 'lan')
    ip('-n', router, 'link', 'set', 'lan', 'up')
    run([...at, 'sysctl', '-qw', 'net.ipv4.ip_forward=1'])
    run([...at, 'nft', natOf({ ...rules, exposed: rules.exposed ? `${inner}.2` : null })])
    return { at: router, bridge: 'lan', gateway: `${inner}.1` }
  }

  /** Drops what comes unasked, as a host's own firewall or a cloud's does. */
  addFirewall(name: string) {
    run([...inside(this.#nameOf(name)), 'nft', FIREWALL])
  }

  /**
   * A host that has this between itself and the internet.
   *
   * @param number of the network, up to 250, which its private addresses have in them
   * @param address what it, or the router at its front, is on the internet
   */
  addOf(kind: Kind, name: string, number: number, address: string): string[] {
    const router = `${name}-r`
    const home = `192.168.${number}`
    if (kind === 'public') return this.add(name, address)
    if (kind === 'firewall') {
      const at = this.add(name, address)
      this.addFirewall(name)
      return at
    }
    if (kind === 'double' || kind === 'cgnat') {
      const between = kind === 'double' ? `10.10.${number}` : `100.64.${number}`
      const front = this.addRouter(`${name}-f`, address, between, { random: kind === 'cgnat' })
      return this.add(name, `${home}.2`, this.addRouter(router, `${between}.2`, home, {}, front))
    }
    const rules = {
      random: kind === 'symmetric',
      exposed: kind === 'cone',
      noUdp: kind === 'blocked'
    }
    return this.add(name, `${home}.2`, this.addRouter(router, address, home, rules))
  }

  /** Gives a host, or a router's outer side, another address in place of the one that it had. */
  readdress(name: string, address: string, lan: Lan = this.internet) {
    const host = this.#nameOf(name)
    ip('-n', host, 'addr', 'flush', 'dev', 'eth0')
    ip('-n', host, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
    if (lan.gateway) ip('-n', host, 'route', 'replace', 'default', 'via', lan.gateway)
    this.#addresses.set(name, address)
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

/** How a router differs from the one that most homes have. */
interface Rules {
  /** Each call leaves from a port of its own. */
  random?: boolean
  /** What comes unasked goes to the first host of the LAN. */
  exposed?: boolean
  noUdp?: boolean
}

interface NatRules extends Omit<Rules, 'exposed'> {
  exposed: string | null
}

/** Unasked packets are dropped, as routers do: else Linux gives the next caller another port. */
function natOf({ random = false, exposed, noUdp = false }: NatRules): string {
  return `
    add table ip nat
    add chain ip nat out { type nat hook postrouting priority 100; }
    add rule ip nat out oifname eth0 masquerade ${random ? 'random,fully-random' : ''}
    ${
      exposed === null
        ? `
    add chain ip nat in { type filter hook input priority 0; }
    add rule ip nat in iifname eth0 ct state new drop
    add chain ip nat through { type filter hook forward priority 0; }
    add rule ip nat through iifname eth0 ct state new drop`
        : `
    add chain ip nat to { type nat hook prerouting priority -100; }
    add rule ip nat to iifname eth0 dnat to ${exposed}`
    }
    ${
      noUdp
        ? `
    add chain ip nat blocked { type filter hook forward priority -5; }
    add rule ip nat blocked meta l4proto udp drop`
        : ''
    }
  `
}

const FIREWALL = `
  add table ip fw
  add chain ip fw in { type filter hook input priority 0; }
  add rule ip fw in iifname eth0 ct state new drop
`

/** Whose packets are lost. */
const CUT = `
  add table ip cut
  add set ip cut lost { type ipv4_addr; }
  add chain ip cut in { type filter hook input priority -10; }
  add rule ip cut in ip saddr @lost drop
`

function to(namespace: string | null): string[] {
  return namespace === null ? [] : ['-n', namespace]
}

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
