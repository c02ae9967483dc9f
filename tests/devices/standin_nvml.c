/* A stand-in for NVIDIA's management library, for machines without a GPU. The environment says what it reports:
   STANDIN_GPUS="name|uuid|capability|memory|mig;...", capability as 90 for sm_90, STANDIN_DRIVER, STANDIN_CUDA as 13000 for 13.0, and
   STANDIN_NVML_ERROR, the code with which it refuses to start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { char name[96], uuid[96]; int capability, mig; unsigned long long memory; } Gpu;
typedef struct { unsigned long long total, free, used; } Memory;
static Gpu gpus[16];
static unsigned int count;

static const char *given(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static int text(const char *value, char *into, unsigned int length) {
    if (strlen(value) + 1 > length) return 7;
    strcpy(into, value);
    return 0;
}

int nvmlInit_v2(void) {
    const char *left = given("STANDIN_GPUS", "");
    count = 0;
    while (*left && count < 16) {
        Gpu *gpu = &gpus[count++];
        sscanf(left, "%95[^|]|%95[^|]|%d|%llu|%d", gpu->name, gpu->uuid, &gpu->capability, &gpu->memory, &gpu->mig);
        left = strchr(left, ';');
        if (!left) break;
        left++;
    }
    return atoi(given("STANDIN_NVML_ERROR", "0"));
}
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 18 ? "Driver/library version mismatch" : "Some error"; }
int nvmlSystemGetDriverVersion(char *into, unsigned int length) { return text(given("STANDIN_DRIVER", "580.65.06"), into, length); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = atoi(given("STANDIN_CUDA", "13000")); return 0; }
int nvmlDeviceGetCount_v2(unsigned int *found) { *found = count; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Gpu **gpu) { if (index >= count) return 2; *gpu = &gpus[index]; return 0; }
int nvmlDeviceGetName(Gpu *gpu, char *into, unsigned int length) { return text(gpu->name, into, length); }
int nvmlDeviceGetUUID(Gpu *gpu, char *into, unsigned int length) { return text(gpu->uuid, into, length); }
int nvmlDeviceGetCudaComputeCapability(Gpu *gpu, int *major, int *minor) { *major = gpu->capability / 10; *minor = gpu->capability % 10; return 0; }
int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *memory) { memory->total = gpu->memory; memory->free = memory->used = 0; return 0; }
int nvmlDeviceGetMaxClockInfo(Gpu *gpu, unsigned int kind, unsigned int *clock) { (void)gpu; *clock = 1980; return kind == 1 ? 0 : 2; }
int nvmlDeviceGetMigMode(Gpu *gpu, unsigned int *current, unsigned int *pending) {
    if (gpu->capability < 80) return 3;
    *current = *pending = gpu->mig;
    return 0;
}
