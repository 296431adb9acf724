/** Zip files in memory: NIfTI entries, or what may be DICOM, within limits that are held while unpacking, not believed from the header. */

import { Unzip, UnzipInflate } from 'fflate'

import { InputError } from '../pipeline/errors'
import { isNiftiName } from '../pipeline/sequences'

const MAX_ENTRIES = 50_000
const MAX_BYTES = 2 ** 30
/** What lies beside scans and is none; it is not unpacked. */
const NO_SCAN = /\.(json|txt|tsv|csv|pdf|png|jpe?g|gif|html?|xml|md|mat|bval|bvec|exe|dll|css|js)$/i

/** True where a file's name says that it is a zip. */
export function isZip(file: File): boolean {
  return /\.zip$/i.test(file.name)
}

/** Returns the NIfTI files in a zip, or, where there are none, what may be DICOM; hidden entries are left alone. */
export async function unpack(zip: File, maxBytes = MAX_BYTES, maxEntries = MAX_ENTRIES): Promise<File[]> {
  const found: File[] = []
  const others: File[] = []
  let entries = 0
  let bytes = 0
  let failed: Error | null = null
  const unzip = new Unzip((entry) => {
    if (++entries > maxEntries) failed = new InputError(`${zip.name}: holds more than ${maxEntries} files. Give the files of one patient.`)
    const base = entry.name.split('/').pop() ?? ''
    const hidden = base === '' || entry.name.split('/').some((part) => part.startsWith('.') || part === '__MACOSX')
    const scan = isNiftiName(base)
    if (failed || hidden || NO_SCAN.test(base) || (!scan && found.length)) return
    const parts: Uint8Array<ArrayBuffer>[] = []
    entry.ondata = (error, data, final) => {
      if (error) failed = new InputError(`${zip.name}: ${base} cannot be unpacked (${error.message}). Pack the files again.`)
      bytes += data?.length ?? 0
      if (bytes > maxBytes) failed = new InputError(`${zip.name}: unpacks to more than ${maxBytes >> 20} MiB. Give the files themselves.`)
      if (failed) return entry.terminate()
      parts.push(data.slice())
      if (final) (scan ? found : others).push(new File(parts, base))
    }
    entry.start()
  })
  unzip.register(UnzipInflate)
  const reader = zip.stream().getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      push(unzip, zip.name, value ?? new Uint8Array(0), done)
      if (failed) throw failed
      if (done) break
    }
  } finally {
    await reader.cancel()
  }
  if (found.length) return found
  if (!others.length) throw new InputError(`${zip.name}: holds no NIfTI and no DICOM file. Give FLAIR, T1, T1ce and T2 as .nii or .nii.gz, or DICOM files.`)
  return others
}

function push(unzip: Unzip, name: string, data: Uint8Array, final: boolean): void {
  try {
    unzip.push(data, final)
  } catch (error) {
    throw new InputError(`${name}: cannot be unpacked (${error instanceof Error ? error.message : String(error)}). Pack the files again.`)
  }
}
