import { SeaportError } from '../core/errors.js'
import { parseKey, toHex } from '../core/keys.js'
import { parseRoleRange, type RoleRange } from '../core/role.js'
import { isName } from '../messaging/names.js'
import { isInstanceId } from './instance-views.js'

/** The target of a request. */
export type Target =
  | RoleTarget
  | InstanceTarget
  | CallTarget
  | EventsTarget
  | ChannelTarget
  | ListTarget
  | PageTarget

/** Any instance of a role. */
export interface RoleTarget extends Passed {
  kind: 'role'
  role: RoleRange
}

/** One instance. */
export interface InstanceTarget extends Passed {
  kind: 'instance'
  /** Its key in hex, or its id. */
  name: string
}

/** A command for any instance of a role, or for one of them. */
export interface CallTarget {
  kind: 'call'
  role: RoleRange
  command: string
  /** The only instance to call: its key in hex, or its id. */
  instance?: string
}

/** The events of all instances of a role. */
export interface EventsTarget {
  kind: 'events'
  role: RoleRange
  /** `*` for all. */
  types: string[]
}

/** A channel to all instances of a role. */
export interface ChannelTarget {
  kind: 'channel'
  role: RoleRange
}

/** The instances of a role, or all. */
export interface ListTarget {
  kind: 'list'
  role: RoleRange | null
}

/** A page of the gateway's own. */
export interface PageTarget {
  kind: 'page'
  path: string
}

interface Passed {
  /** The path that the instance is asked for, as it came, with the query. */
  path: string
  /** The beginning of the path that named the target. */
  prefix: string
}

/**
 * Reads the path of a request: `/role/<role@range>/path`, `/instance/<key or id>/path`, `/list/<role@range>`,
 * `/call/<role@range>/<command>?instance=<key or id>`, `/events/<role@range>?type=…`, `/channel/<role@range>`, or a page. Only what names the target is decoded; the rest goes on as it came.
 *
 * @param url the path with its query
 * @throws BAD_ROLE, BAD_KEY, BAD_REQUEST
 */
export function parseTarget(url: string): Target {
  const [path, query] = splitOnce(url, '?')
  const [first, rest] = splitOnce(path.slice(1), '/')
  switch (first) {
    case 'role': {
      const [name, inside] = takeRole(rest ?? '')
      const passed = pass(url, inside, query)
      return { kind: 'role', role: readRole(name), ...passed }
    }
    case 'instance': {
      const [name, inside] = splitOnce(rest ?? '', '/')
      const passed = pass(url, inside, query)
      return { kind: 'instance', name: readInstance(decode(name)), ...passed }
    }
    case 'call': {
      const [name, inside] = takeRole(rest ?? '')
      const command = decode(inside ?? '')
      const instance = new URLSearchParams(query ?? '').get('instance')
      const target = { kind: 'call', role: readRole(name), command } as const
      return instance === null ? target : { ...target, instance: readInstance(instance) }
    }
    case 'events': {
      const [name] = takeRole(rest ?? '')
      const types = new URLSearchParams(query ?? '').getAll('type')
      if (!types.every((type) => type === '*' || isName(type))) {
        throw SeaportError.BAD_REQUEST('a type of events has 1 to 64 of A-Z, a-z, 0-9 and . _ : -')
      }
      return { kind: 'events', role: readRole(name), types: types.length > 0 ? types : ['*'] }
    }
    case 'channel':
      return { kind: 'channel', role: readRole(takeRole(rest ?? '')[0]) }
    case 'list': {
      const name = decode(rest ?? '').replace(/\/$/, '')
      return { kind: 'list', role: name === '' ? null : parseRoleRange(name) }
    }
    default:
      return { kind: 'page', path }
  }
}

/**
 * Roles that were parsed lately. There are few, and each is asked for again and again. Equal names give the same
 * object.
 */
const roles = new Map<string, RoleRange>()
const MAX_ROLES = 1024

export function readRole(name: string): RoleRange {
  const known = roles.get(name)
  if (known) return known
  const role = parseRoleRange(decode(name))
  if (roles.size >= MAX_ROLES) roles.clear()
  roles.set(name, role)
  return role
}

/** The role is one segment, or two if it has a scope whose slash came unencoded. */
function takeRole(path: string): [role: string, inside: string | null] {
  const [first, rest] = splitOnce(path, '/')
  const isBareScope = /^(@|%40)/i.test(first) && !/%2f/i.test(first)
  if (!isBareScope || rest === null) return [first, rest]
  const [second, inside] = splitOnce(rest, '/')
  return [`${first}/${second}`, inside]
}

function pass(url: string, inside: string | null, query: string | null): Passed {
  const path = `/${inside ?? ''}${query === null ? '' : `?${query}`}`
  const prefixLength = url.length - (inside === null ? path.length - 1 : path.length)
  return { path, prefix: url.slice(0, prefixLength) }
}

function readInstance(name: string): string {
  return isInstanceId(name) ? name : toHex(parseKey(name, 'instance key'))
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw SeaportError.BAD_REQUEST('a % in the path is not followed by two hex digits of UTF-8')
  }
}

function splitOnce(text: string, at: string): [before: string, after: string | null] {
  const index = text.indexOf(at)
  return index === -1 ? [text, null] : [text.slice(0, index), text.slice(index + 1)]
}
