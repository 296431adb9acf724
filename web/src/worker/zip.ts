/** Zip files: NIfTI entries only, in memory, within limits that are held while unpacking, not believed from the header. */

import { Unzip, UnzipInflate } from 'fflate'

import { InputError } from '../pipeline/errors'
import { isNiftiName } from '../pipeline/sequences'

const MAX_ENTRIES = 2000
const MAX_BYTES = 2 ** 30

/** Returns the NIfTI files in a zip; other entries and hidden ones are left alone. */
export async function unpack(zip: File, maxBytes = MAX_BYTES): Promise<File[]> {
  const found: File[] = []
  let entries = 0
  let bytes = 0
  let failed: Error | null = null
  const unzip = new Unzip((entry) => {
    if (++entries > MAX_ENTRIES) failed = new InputError(`${zip.name}: holds more than ${MAX_ENTRIES} files. Give the files of one patient.`)
    const base = entry.name.split('/').pop() ?? ''
    if (failed || !isNiftiName(base) || base.startsWith('.')) return
    const parts: Uint8Array<ArrayBuffer>[] = []
    entry.ondata = (error, data, final) => {
      if (error) failed = new InputError(`${zip.name}: ${base} cannot be unpacked (${error.message}). Pack the files again.`)
      bytes += data?.length ?? 0
      if (bytes > maxBytes) failed = new InputError(`${zip.name}: unpacks to more than ${maxBytes >> 20} MiB. Give the four files themselves.`)
      if (failed) return entry.terminate()
      parts.push(data.slice())
      if (final) found.push(new File(parts, base))
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
  if (!found.length) throw new InputError(`${zip.name}: holds no NIfTI file. Give FLAIR, T1, T1ce and T2 as .nii or .nii.gz.`)
  return found
}

function push(unzip: Unzip, name: string, data: Uint8Array, final: boolean): void {
  try {
    unzip.push(data, final)
  } catch (error) {
    throw new InputError(`${name}: cannot be unpacked (${error instanceof Error ? error.message : String(error)}). Pack the files again.`)
  }
}
