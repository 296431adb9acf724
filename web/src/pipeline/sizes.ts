/** Few sizes of tiles for many boxes; see `gliomask.predict.sizes` and docs/decisions/0018-sizes-of-tiles.md. */

import type { Triple } from './grid'
import { voxelCount } from './grid'

const NEW_SIZE_PIXELS = 30_000

/** The sizes that a network has been given for one case: slices, height and width. Never shared between cases. */
export class Sizes {
  private readonly seen = new Map<string, Triple>()

  /** Returns the size to use in place of each wanted one, in their order; what is returned counts as seen from now on. */
  of(wanted: readonly Triple[]): Triple[] {
    const counts = new Map<string, number>()
    const groups = new Map<string, Group>()
    for (const size of wanted) {
      counts.set(key(size), (counts.get(key(size)) ?? 0) + 1)
      groups.set(key(size), { size, members: [key(size)] })
    }
    const price = (size: Triple, members: readonly string[]) =>
      members.reduce((sum, member) => sum + (counts.get(member) ?? 0), 0) * voxelCount(size) + (this.seen.has(key(size)) ? 0 : NEW_SIZE_PIXELS)
    const cost = (size: Triple) => {
      const group = groups.get(key(size))
      return group ? price(size, group.members) : 0
    }
    for (let joined: Joined | null; (joined = this.bestJoin(groups, cost, price)); ) {
      groups.delete(key(joined.one))
      groups.delete(key(joined.other))
      groups.set(key(joined.both), { size: joined.both, members: joined.members })
    }
    const chosen = new Map<string, Triple>()
    for (const { size, members } of groups.values()) {
      this.seen.set(key(size), size)
      members.forEach((member) => chosen.set(member, size))
    }
    return wanted.map((size) => chosen.get(key(size)) as Triple)
  }

  private bestJoin(
    groups: ReadonlyMap<string, Group>,
    cost: (size: Triple) => number,
    price: (size: Triple, members: readonly string[]) => number,
  ): Joined | null {
    const all = new Map<string, Triple>([...this.seen, ...[...groups].map(([name, group]): [string, Triple] => [name, group.size])])
    const sizes = [...all.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2])
    let [best, joined]: [number, Joined | null] = [0, null]
    sizes.forEach((one, n) => {
      for (const other of sizes.slice(n + 1)) {
        const both = one.map((length, axis) => Math.max(length, other[axis] as number)) as Triple
        const members = [one, other].flatMap((size) => groups.get(key(size))?.members ?? [])
        let saving = cost(one) + cost(other)
        if (key(both) !== key(one) && key(both) !== key(other)) {
          saving += cost(both)
          members.push(...(groups.get(key(both))?.members ?? []))
        }
        if (!members.length) continue
        saving -= price(both, members)
        if (saving > best) [best, joined] = [saving, { one, other, both, members }]
      }
    })
    return joined
  }
}

interface Group {
  readonly size: Triple
  readonly members: string[]
}

interface Joined {
  readonly one: Triple
  readonly other: Triple
  readonly both: Triple
  readonly members: string[]
}

function key(size: Triple): string {
  return size.join()
}
