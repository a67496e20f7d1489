"""Settings of the memory allocator (glibc) for processes that run networks, in the workflow and in benchmarks."""

# Freed buffers are kept, in huge pages if possible: page faults cost more than the memory.
KEEP_FREED_MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
}
