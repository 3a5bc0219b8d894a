import { dirname } from 'node:path'

/** Where programs are looked for, unless an app says where its own are. The Node that runs this is one of them. */
export const PATH = `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:${dirname(process.execPath)}`
/** Variables of a program have this before their names while they are handed on. */
const PREFIX = 'HANDED_'
/** Names that mean something to one shell or another, or to the script, so that it cannot hand them on. */
const OF_SHELLS = new Set([
  ...[
    'OPTIND',
    'OPTARG',
    'PPID',
    'UID',
    'EUID',
    'GROUPS',
    'LINENO',
    'RANDOM',
    'SECONDS',
    'FUNCNAME'
  ],
  ...['BASHOPTS', 'SHELLOPTS', 'BASH_VERSINFO', 'DIRSTACK', '_', '_name', '_names', '_word']
])

/**
 * A shell script that takes the variables that it was handed, and becomes the program. If it is to, it says first that
 * it is there, and waits for a word: who started it has found it by then.
 */
const TAKE = `
if [ "$1" = 1 ]; then echo >&3; read -r _word <&3 || exit 126; exec 3>&-; fi
_names=$2; shift 2
for _name in $_names; do eval "export $_name=\\"\\$${PREFIX}$_name\\"; unset ${PREFIX}$_name"; done
exec "$@"
`

/**
 * The environment of a program, under names that mean nothing. Programs that run before it with more rights must not
 * take theirs from it: who may name their `PATH` or `LD_PRELOAD` has their rights.
 */
export function handedEnvironment(env: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).map(([name, value]) => [PREFIX + name, value]))
}

/**
 * The command line of a program that takes its environment from what it was handed.
 *
 * @param waits whether it writes a line to its file descriptor 3 first, and waits for one
 */
export function takingEnvironment(
  env: Readonly<Record<string, string>>,
  command: readonly string[],
  waits: boolean
): string[] {
  const ofShells = Object.entries(env).filter(([name]) => OF_SHELLS.has(name))
  const names = Object.keys(env).filter((name) => !OF_SHELLS.has(name))
  const set = ofShells.map(([name, value]) => `${name}=${value}`)
  const words = set.length === 0 ? command : ['/usr/bin/env', ...set, ...command]
  return ['/bin/sh', '-c', TAKE, 'sh', `${Number(waits)}`, names.join(' '), ...words]
}
