/** How many bytes of a file's beginning are needed to tell its platform. */
export const NATIVE_HEAD_BYTES = 512

const ELF = 0x7f454c46
/** Node's names of architectures by the field `e_machine`. */
const ELF_MACHINES: Record<number, string> = {
  3: 'ia32',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  62: 'x64',
  183: 'arm64',
  243: 'riscv64',
  258: 'loong64'
}
/** The field `e_type` of programs and shared libraries. Objects that are not linked yet run nowhere. */
const ELF_RUNS = [2, 3]
const ELF_FREEBSD = 9
const MACH_64 = 0xcffaedfe
const MACH_FAT = 0xcafebabe
/**
 * The most parts of a fat binary. Java classes begin with the same magic number, but have their version in place of the
 * count, and that is higher.
 */
const MAX_FAT_PARTS = 20
const FAT_HEADER_BYTES = 8
const FAT_PART_BYTES = 20
const MACH_MACHINES: Record<number, string> = { 16777223: 'x64', 16777228: 'arm64' }
/** A folder of prebuilt libraries for one platform, as in `prebuilds/linux-x64/…` or `prebuilds/darwin-x64+arm64/…`. */
const PREBUILD = /(?:^|\/)prebuilds\/([a-z0-9]+)-([a-z0-9+]+)\//

/** The platforms that a program or library runs on, as `linux-x64`; empty if the file is neither. */
export function platformsOfHead(head: Buffer): string[] {
  if (head.byteLength < 20) return []
  if (head.readUInt32BE(0) === ELF) {
    const isLittle = head[5] !== 2
    const [type, machine] = [16, 18].map((at) =>
      isLittle ? head.readUInt16LE(at) : head.readUInt16BE(at)
    ) as [number, number]
    if (!ELF_RUNS.includes(type)) return []
    const system = head[7] === ELF_FREEBSD ? 'freebsd' : 'linux'
    return [`${system}-${ELF_MACHINES[machine] ?? `machine${machine}`}`]
  }
  if (head.readUInt32BE(0) === MACH_64) return [darwin(head.readUInt32LE(4))]
  if (head.readUInt32BE(0) !== MACH_FAT) return []
  const parts = head.readUInt32BE(4)
  if (parts === 0 || parts > MAX_FAT_PARTS) return []
  const starts = Array.from({ length: parts }, (_, i) => FAT_HEADER_BYTES + i * FAT_PART_BYTES)
  return starts.filter((at) => at + 4 <= head.byteLength).map((at) => darwin(head.readUInt32BE(at)))
}

/**
 * The platforms of a bundle with these native files; null if it has none, and so runs everywhere. Of the files in a
 * folder `prebuilds` the program loads one that fits. All others are needed, so they decide if there are any.
 */
export function platformsOf(files: readonly { path: string; head: Buffer }[]): string[] | null {
  const needed = new Set<string>()
  const choice = new Set<string>()
  for (const { path, head } of files) {
    const found = platformsOfHead(head)
    if (found.length === 0) continue
    const [, system, machines] = PREBUILD.exec(path) ?? []
    if (machines === undefined) for (const platform of found) needed.add(platform)
    else for (const machine of machines.split('+')) choice.add(`${system}-${machine}`)
  }
  const platforms = needed.size > 0 ? needed : choice
  return platforms.size > 0 ? [...platforms].sort() : null
}

function darwin(machine: number): string {
  return `darwin-${MACH_MACHINES[machine] ?? `machine${machine}`}`
}
