import { toHex } from '../../core/keys.js'
import { boundAnnouncements } from '../log/announcements.js'
import {
  type Corestore,
  connectionOf,
  type Hypercore,
  replicatingPeers,
  stopReplicating
} from '../log/hypercore.js'
import type { Peer } from '../swarm/peer.js'

/** Our copy of one log, and from whom it is fetched. */
interface Copied {
  core: Hypercore
  /** The key of the registrar that writes it now, null if none does any more. */
  registrar: () => string | null
  /** The peers that we asked for the log. */
  asked: Set<Peer>
  /** How many blocks each peer says that it has. */
  lengths: Map<Peer, number>
  /** As long as this timer runs, only the log's registrar is asked. */
  reserved: NodeJS.Timeout | null
  /** Runs until it is decided again whom to ask. */
  timer: NodeJS.Timeout | null
}

export interface OpenOptions {
  /** Blocks that are asked for at once. */
  inflightRange?: [number, number]
  /** Whether what is on disk is to be forgotten. */
  overwrite?: boolean
}

/** How long the registrar of a log that we hear of has to come itself, before others are asked. */
const RESERVED_MS = 500
/** How many are asked for a log without its registrar; with those who ask us, all have it in a few steps. */
const MAX_ASKED = 4
/** A peer that stopped giving the log is asked again after this, if it is still needed. */
const ASK_AGAIN_MS = 200

/**
 * Decides from whom the logs are copied. From its registrar, as long as that one gives it, and from nobody
 * else: if all replicas copied from each other, each would announce each block to all the others, and
 * have each from several of them. Without its registrar, from a few that are connected, the one that says
 * it has the most among them. Whoever asks us is served in either case. Of two that ask and leave each other at
 * the same time, each may take the channel for the other's wish: it stays, and costs an announcement a block.
 */
export class Replication {
  /** Opens no channel by itself, but answers those who open one. */
  readonly #store: Corestore
  readonly #peers = new Set<Peer>()
  /** By key, hex. */
  readonly #logs = new Map<string, Copied>()

  constructor(store: Corestore) {
    this.#store = store.session({ active: false })
  }

  /** Serves a peer, and asks it for what is needed. */
  add(peer: Peer) {
    if (this.#peers.has(peer)) return
    boundAnnouncements(peer.mux, (messages) => peer.spend(messages))
    this.#store.replicate(peer.mux)
    this.#peers.add(peer)
    peer.on('close', () => {
      this.#peers.delete(peer)
      for (const { asked, lengths } of this.#logs.values()) {
        asked.delete(peer)
        lengths.delete(peer)
      }
    })
    for (const log of this.#logs.values()) this.#settle(log)
  }

  /** Copies a log until its core is closed. */
  open(logKey: string, registrar: Copied['registrar'], options: OpenOptions): Hypercore {
    const core = this.#store.get({ key: Buffer.from(logKey, 'hex'), ...options })
    const log: Copied = {
      core,
      registrar,
      asked: new Set(),
      // It may be a copy that is begun anew.
      lengths: this.#logs.get(logKey)?.lengths ?? new Map(),
      reserved: null,
      timer: null
    }
    this.#logs.set(logKey, log)
    core.on('peer-add', () => this.#settleSoon(log, 0))
    core.on('peer-remove', (lost) => {
      for (const peer of log.asked) if (peer.mux === connectionOf(lost)) log.asked.delete(peer)
      this.#settleSoon(log, ASK_AGAIN_MS)
    })
    core.on('close', () => {
      if (log.timer) clearTimeout(log.timer)
      if (log.reserved) clearTimeout(log.reserved)
      if (this.#logs.get(logKey) === log) this.#logs.delete(logKey)
    })
    core.ready().then(
      () => this.#settle(log),
      () => {}
    )
    log.reserved = setTimeout(() => {
      log.reserved = null
      this.#settle(log)
    }, RESERVED_MS)
    return core
  }

  /** A peer says that it has so many blocks of a log. */
  setLength(logKey: string, peer: Peer, length: number) {
    const log = this.#logs.get(logKey)
    if (!log || peer.closed) return
    log.lengths.set(peer, length)
    // An earlier request was lost if the peer did not know of the log yet.
    if (!replicatingPeers(log.core).some(({ mux }) => mux === peer.mux)) log.asked.delete(peer)
    this.#settle(log)
  }

  #settleSoon(log: Copied, delay: number) {
    log.timer ??= setTimeout(() => {
      log.timer = null
      this.#settle(log)
    }, delay)
  }

  #settle(log: Copied) {
    if (!log.core.opened || log.core.closing) return
    const registrar = log.registrar()
    const givers = new Set(replicatingPeers(log.core).map(({ key }) => toHex(key)))
    if (registrar !== null && givers.has(registrar)) {
      for (const peer of log.asked) if (peer.key !== registrar) leave(log, peer)
      return
    }
    for (const peer of this.#peers) if (peer.key === registrar) ask(log, peer)
    if (log.reserved) return
    const others = [...this.#peers].filter(({ key }) => key !== registrar)
    const [best, ...rest] = byLength(others, log)
    if (best) ask(log, best)
    for (const peer of rest) if (log.asked.size < MAX_ASKED) ask(log, peer)
  }
}

/** Who has the most comes first; of equals, who was asked before, and then any. */
function byLength(peers: Peer[], { lengths, asked }: Copied): Peer[] {
  const worth = (peer: Peer) => (asked.has(peer) ? 1 : Math.random())
  const ranked = peers.map((peer) => ({ peer, length: lengths.get(peer) ?? 0, worth: worth(peer) }))
  ranked.sort((a, b) => b.length - a.length || b.worth - a.worth)
  return ranked.map(({ peer }) => peer)
}

function ask({ core, asked }: Copied, peer: Peer) {
  if (asked.has(peer)) return
  asked.add(peer)
  core.replicate(peer.mux)
}

/**
 * Stops fetching from a peer. If the peer needs the log from us, it asks. One that has not answered yet is left
 * when it answers.
 */
function leave({ core, asked }: Copied, peer: Peer) {
  if (stopReplicating(core, peer.mux)) asked.delete(peer)
}
