/**
 * A handler of what others sent that cannot throw. An exception in a handler of events ends the process; here it is
 * given to `onfailure`, which ends the one exchange that it belongs to.
 */
export function guarded<Args extends unknown[]>(
  handler: (...args: Args) => void,
  onfailure: (error: Error) => void
): (...args: Args) => void {
  return (...args) => {
    try {
      handler(...args)
    } catch (error) {
      onfailure(error as Error)
    }
  }
}
