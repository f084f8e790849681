/* A PKCS #11 library before another one: while the file FINAL_TRY is there, every token says that one try of its PIN is
   left (CKF_USER_PIN_FINAL_TRY, PKCS #11 v3.1 section 3.2), which SoftHSM never does. Each login is a byte in LOGINS.

   A function list is a version and pointers in the order of the standard; a token's flags follow 96 bytes of text. */

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FUNCTIONS 68
#define GET_FUNCTION_LIST 3
#define GET_TOKEN_INFO 6
#define LOGIN 18
#define USER_PIN_FINAL_TRY 0x00020000UL

struct list {
  unsigned char version[2];
  void *functions[FUNCTIONS];
};

struct token_info {
  unsigned char text[96];
  unsigned long flags;
};

static struct list ours;
static unsigned long (*get_token_info)(unsigned long, struct token_info *);
static unsigned long (*login)(unsigned long, unsigned long, unsigned char *, unsigned long);

static unsigned long our_token_info(unsigned long slot, struct token_info *info) {
  unsigned long result = get_token_info(slot, info);
  if (result == 0 && access(FINAL_TRY, F_OK) == 0) {
    info->flags |= USER_PIN_FINAL_TRY;
  }
  return result;
}

static unsigned long our_login(unsigned long session, unsigned long user, unsigned char *pin, unsigned long length) {
  FILE *counted = fopen(LOGINS, "a");
  if (counted) {
    fputc('.', counted);
    fclose(counted);
  }
  return login(session, user, pin, length);
}

unsigned long C_GetFunctionList(struct list **given) {
  void *module = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
  unsigned long (*get)(struct list **) = module ? (unsigned long (*)(struct list **))dlsym(module, "C_GetFunctionList") : NULL;
  struct list *theirs = NULL;
  if (get == NULL || get(&theirs) != 0) {
    return 5; /* CKR_GENERAL_ERROR */
  }
  memcpy(&ours, theirs, sizeof ours);
  get_token_info = (unsigned long (*)(unsigned long, struct token_info *))ours.functions[GET_TOKEN_INFO];
  login = (unsigned long (*)(unsigned long, unsigned long, unsigned char *, unsigned long))ours.functions[LOGIN];
  ours.functions[GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
  ours.functions[GET_TOKEN_INFO] = (void *)our_token_info;
  ours.functions[LOGIN] = (void *)our_login;
  *given = &ours;
  return 0;
}
