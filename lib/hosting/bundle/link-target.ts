/**
 * Whether a symbolic link stays inside the root, whatever other such links there are. `..` may only stand at the
 * beginning of its target, and may lead at most to the root. After a name, `..` might step up from wherever another
 * link has led.
 *
 * @param path the path of the link, relative to the root
 */
export function staysInside(path: string, target: string): boolean {
  if (target === '' || target.startsWith('/') || target.includes('\0')) return false
  const steps = target.split('/').filter((step) => step !== '' && step !== '.')
  const ups = steps.findIndex((step) => step !== '..')
  const rest = ups < 0 ? [] : steps.slice(ups)
  const depth = path.split('/').length - 1
  return (ups < 0 ? steps.length : ups) <= depth && !rest.includes('..')
}
