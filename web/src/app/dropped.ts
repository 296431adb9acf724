/** Files of what a person drops: files and whole folders, hidden ones left out. */

import { InputError } from '../pipeline/errors'
import { text } from '../text/en'

export const MAX_FILES = 50_000
const MAX_DEPTH = 12

/** What was dropped or chosen, and how messages call it. */
export interface Dropped {
  readonly title: string
  readonly files: readonly File[]
}

/** Returns the files of a drop. The entries are taken at once, since the drop forgets them when the event is over. */
export async function dropped(transfer: Pick<DataTransfer, 'items' | 'files'>): Promise<Dropped> {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry?.() ?? [])
  if (!entries.length) return { title: text.theseFiles, files: [...transfer.files] }
  const files: File[] = []
  for (const entry of entries) await walk(entry, 0, files)
  return { title: entries.length === 1 ? (entries[0] as FileSystemEntry).name : text.theseFiles, files }
}

/** Returns the files of a folder that was chosen in a dialogue. */
export function ofFolder(files: readonly File[]): Dropped {
  if (files.length > MAX_FILES) throw new InputError(text.tooManyFiles(MAX_FILES))
  const shown = files.filter((file) => !file.webkitRelativePath.split('/').some(isHidden))
  return { title: files[0]?.webkitRelativePath.split('/')[0] || text.theseFiles, files: shown }
}

async function walk(entry: FileSystemEntry, depth: number, files: File[]): Promise<void> {
  if (isHidden(entry.name)) return
  if (entry.isFile) {
    if (files.length >= MAX_FILES) throw new InputError(text.tooManyFiles(MAX_FILES))
    files.push(await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)))
  } else {
    if (depth >= MAX_DEPTH) throw new InputError(text.tooDeep(MAX_DEPTH))
    for (const inner of await entriesOf(entry as FileSystemDirectoryEntry)) await walk(inner, depth + 1, files)
  }
}

/** All entries of a folder, by name: a browser hands them out a hundred at a time, and none at the end. */
async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader()
  const entries: FileSystemEntry[] = []
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (!some.length) return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
    entries.push(...some)
  }
}

function isHidden(name: string): boolean {
  return name.startsWith('.') || name === '__MACOSX'
}
