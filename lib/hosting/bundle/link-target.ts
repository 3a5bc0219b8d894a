/**
 * Whether a symbolic link stays inside the folder that it is in, whatever other links like it are there: it goes up
 * by leading `..` only, at most to the root, and down from there. One that steps up again after a name might do so
 * from where another link has led.
 *
 * @param path of the link, relative to the root
 */
export function staysInside(path: string, target: string): boolean {
  if (target === '' || target.startsWith('/') || target.includes('\0')) return false
  const steps = target.split('/').filter((step) => step !== '' && step !== '.')
  const ups = steps.findIndex((step) => step !== '..')
  const rest = ups < 0 ? [] : steps.slice(ups)
  const depth = path.split('/').length - 1
  return (ups < 0 ? steps.length : ups) <= depth && !rest.includes('..')
}
