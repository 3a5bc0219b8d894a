import type { ComponentChildren } from 'preact'

/** A part of a page, with its title. */
export function Panel({
  id,
  title,
  children
}: {
  id?: string
  title: string
  children: ComponentChildren
}) {
  return (
    <section class="panel" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  )
}
