/** Stands in for the decoders of Zarr arrays that NiiVue brings along and that nothing here reads: 1.4 MB of WebAssembly. */

const NoCodec = {
  fromConfig(): never {
    throw new Error('Zarr arrays are not read here.')
  },
}

export default NoCodec
