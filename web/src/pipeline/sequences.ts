/** The four MR sequences and every name under which they travel; see `gliomask.sequences`. */

export type Sequence = 'flair' | 't1' | 't1ce' | 't2'

/** Channel order of the paper's networks. */
export const PAPER_ORDER: readonly Sequence[] = ['flair', 't1', 't1ce', 't2']

export const SEQUENCE_TITLES: Readonly<Record<Sequence, string>> = { flair: 'FLAIR', t1: 'T1', t1ce: 'T1ce', t2: 'T2' }

const ALIASES: ReadonlyMap<string, Sequence> = new Map([
  ['t1', 't1'],
  ['t1n', 't1'],
  ['t1w', 't1'],
  ['t1ce', 't1ce'],
  ['t1c', 't1ce'],
  ['t1gd', 't1ce'],
  ['ct1', 't1ce'],
  ['t2', 't2'],
  ['t2w', 't2'],
  ['flair', 'flair'],
  ['fla', 'flair'],
  ['t2f', 'flair'],
])

const COMPOUNDS: ReadonlyMap<string, Sequence> = new Map([
  ['t1 ce', 't1ce'],
  ['t1 c', 't1ce'],
  ['t1 gd', 't1ce'],
  ['t2 flair', 'flair'],
  ['t2w flair', 'flair'],
])

/** Returns a file's name without folders and without `.nii` or `.nii.gz`. */
export function stem(name: string): string {
  return (name.split('/').pop() ?? '').replace(/\.nii(\.gz)?$/i, '')
}

/** True where a name ends in `.nii` or `.nii.gz`. */
export function isNiftiName(name: string): boolean {
  return /\.nii(\.gz)?$/i.test(name)
}

/** Returns the sequence named by the end of a file's stem, or null; a stem that names two sequences may be either. */
export function sequenceOfFileName(fileStem: string): Sequence | null {
  const words = fileStem.toLowerCase().split(/[_\-. ]+/)
  const last = words.at(-1) ?? ''
  const compound = words.length > 1 ? COMPOUNDS.get(`${words.at(-2)} ${last}`) : undefined
  const named = compound ?? ALIASES.get(last)
  const rest = words.slice(0, compound ? -2 : -1)
  if (rest.some((word) => ALIASES.has(word) && ALIASES.get(word) !== named)) return null
  if (named === 't1' && rest.includes('ce')) return 't1ce'
  return named ?? null
}

/** True where the files are named as BraTS 2023 and later name them, so that enhancing tumour is written as 3, not 4. */
export function namedAsBrats2023(stems: readonly string[]): boolean {
  return stems.some((one) => ['t1n', 't2f'].includes(one.toLowerCase().split(/[_\-. ]+/).at(-1) ?? ''))
}
