/* A stand-in for the part of CUDA's driver library that describes devices. It shows the GPUs of STANDIN_GPUS (see standin_nvml.c) that
   CUDA_VISIBLE_DEVICES names by UUID, and refuses to start with the code STANDIN_CUDA_ERROR. Attributes are those of an H200. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { char name[96], uuid[96]; int capability, mig; unsigned long long memory; } Gpu;
static Gpu gpus[16];
static int count;

int cuInit(unsigned int flags) {
    const char *left = getenv("STANDIN_GPUS"), *visible = getenv("CUDA_VISIBLE_DEVICES"), *error = getenv("STANDIN_CUDA_ERROR");
    (void)flags;
    if (error) return atoi(error);
    count = 0;
    while (left && *left && count < 16) {
        Gpu *gpu = &gpus[count];
        sscanf(left, "%95[^|]|%95[^|]|%d|%llu|%d", gpu->name, gpu->uuid, &gpu->capability, &gpu->memory, &gpu->mig);
        if (!visible || !strcmp(visible, gpu->uuid)) count++;
        left = strchr(left, ';');
        if (left) left++;
    }
    return 0;
}
int cuGetErrorString(int code, const char **words) { *words = code == 802 ? "system not yet initialized" : "some error"; return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *found) { *found = count; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < count ? 0 : 101; }
int cuDeviceGetName(char *into, int length, int device) { snprintf(into, length, "%s", gpus[device].name); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = gpus[device].memory; return 0; }
int cuDeviceGetUuid(unsigned char *into, int device) {
    const char *digit = gpus[device].uuid + 4;
    for (int i = 0; i < 16; i++, digit += 2) {
        if (*digit == '-') digit++;
        sscanf(digit, "%2hhx", &into[i]);
    }
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 1: *value = 1024; return 0;
    case 10: *value = 32; return 0;
    case 13: *value = 1980000; return 0;
    case 16: *value = 132; return 0;
    case 38: *value = 62914560; return 0;
    case 39: *value = 2048; return 0;
    case 75: *value = gpus[device].capability / 10; return 0;
    case 76: *value = gpus[device].capability % 10; return 0;
    case 81: *value = 233472; return 0;
    case 82: *value = 65536; return 0;
    case 97: *value = 232448; return 0;
    case 106: *value = 32; return 0;
    }
    return 1;
}
